"""Quotes that break the rules are named with their line; those that keep them give the values they hold."""

from pathlib import Path

import pytest

from prorl.datasets.delimited import TextForm, read_delimited
from prorl.datasets.quoting import line_of, values_with_line_ends
from prorl.errors import DataError


def line_ends(text):
    return values_with_line_ends(text.encode(), ",", '"', Path("x.csv"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n"x, y","say ""no"""\n', []),
        ('a,b\n"",""\r\n"",x\n', []),
        ('a,b\n5" disc,the "x"\n', []),
        ('a,b\n"one\ntwo",x\ny,"\n\n"\n', [(2, 1), (4, 2)]),
    ],
)
def test_values_that_hold_line_ends(text, expected):
    assert line_ends(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n"x" y,1\n', 'line 2: text follows the " that closes a value begun on line 2; found \'" y,1'),
        ('a,b\n1,"x\n2,"y\n', 'line 3: text follows the " that closes a value begun on line 2'),
        ('a,b\n1,2\n3,"x\n4,5\n', 'line 3: a value begins with a " that is never closed'),
    ],
)
def test_a_quote_that_breaks_the_rules_is_named(text, message):
    with pytest.raises(DataError, match=f"x.csv: {message}"):
        line_ends(text)


def test_lines_of_rows_after_values_with_line_ends():
    assert [line_of(row, 2, [(2, 1), (4, 2)]) for row in range(3)] == [2, 4, 7]


def test_errors_name_the_line_after_values_with_line_ends(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"one\ntwo",1\n3\n')
    with pytest.raises(DataError, match=r"x.csv: line 4: 1 values, allowed: 2; found '3'"):
        read_delimited(path, TextForm(",", quote='"'))


def test_without_a_quote_every_line_is_a_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"one,1\ntwo",2\n')
    table = read_delimited(path, TextForm(",")).table
    assert table.to_pydict() == {"a": ['"one', 'two"'], "b": ["1", "2"]}
