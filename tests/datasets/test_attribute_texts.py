"""Attributes in one text: lists in brackets, separators, and what is said where neither is found."""

from pathlib import Path

import pyarrow as pa
import pytest

from prorl.datasets.attribute_texts import AttributeTexts
from prorl.datasets.delimited import ReadTable
from prorl.errors import DataError

READ = ReadTable(Path("x.csv"), pa.table({}), 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a| b ||c", ["a", "b", "c"]),
        ("  ", []),
        ("['a', \"it's\"]", ["a", "it's"]),
        ('["a", "b \\u00e9"]', ["a", "b é"]),
        ("('a',)", ["a"]),
        ("{'b', 'a'}", ["b", "a"]),
        ("[]", []),
        ("[u'a', '']", ["a"]),
        ("(no genres listed)", ["(no genres listed)"]),
        ("[Adult Swim]", ["[Adult Swim]"]),
        ("[x]|[y]", ["[x]", "[y]"]),
    ],
)
def test_one_text(text, expected):
    assert AttributeTexts("|").split(text, READ, 0) == expected


@pytest.mark.parametrize(
    "text",
    [
        "['a' 'b']",
        "[a, b]",
        "[{'id': 1, 'name': 'a'}]",
        "['a', 3]",
        "{'a': 1}",
        r"['a\Nb']",
        r"['\U00110000']",
    ],
)
def test_brackets_that_are_no_list_of_texts_are_refused(text):
    with pytest.raises(DataError, match=r"x.csv: line 5: attributes are .*, allowed: a list of texts"):
        AttributeTexts("|").split(text, READ, 3)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a|b", "c, d"], []),
        (["['a', 'b']", ""], []),
        (["a, b", "c", "d, e"], ["none of 3 texts of attributes holds '|'", "2 hold ',', such as 'a, b'"]),
        (["a", "b"], ["none of 2 texts of attributes holds '|'", "so each is one attribute"]),
    ],
)
def test_a_separator_that_never_cuts_is_told(texts, told):
    attributes = AttributeTexts("|")
    for row, text in enumerate(texts):
        attributes.split(text, READ, row)
    found = " ".join(attributes.told(Path("x.csv")))
    assert bool(found) == bool(told)
    assert all(part in found for part in told)
