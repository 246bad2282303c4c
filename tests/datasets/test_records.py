"""Lines of JSON and of Python literals, and the text in them."""

import ast
import gzip
import time

import pytest

from prorl.datasets.records import gzip_lines, json_records, literal_records, plain_text, plain_texts
from prorl.errors import DataError


def packed(path, *lines):
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


USUAL = [
    r"""{u'username': u'a', u'hours': 0.1, u'products': 41, u'tags': [u'x', u"y's"], """
    r"""u'early_access': False, u'none': None}""",
    r"""{u'text': u"it's u'username': u'not me', or", u'username': u'b\u0394\'s', """
    r"""u'empty': [], 'n': -1.5e-3}""",
    r"""{'username': "c", "text": 'a \\', "price": [1, 2.5, True]}""",
]
UNUSUAL = [r"""{u'username': u'd', u'nested': {u'x': (1, 2)}}""", r"""{ 'username' : 'e' , }""", r"""{}"""]


@pytest.mark.parametrize("line", USUAL + UNUSUAL)
def test_both_ways_to_read_a_literal_agree(tmp_path, line):
    expected = ast.literal_eval(line)
    [(number, record)] = literal_records(packed(tmp_path / "x.gz", line), set(expected))
    assert number == 1
    assert record == expected


def test_the_usual_form_takes_only_the_wanted_names(tmp_path):
    assert next(literal_records(packed(tmp_path / "x.gz", USUAL[0]), {"username", "absent"})) == (
        1,
        {"username": "a"},
    )


@pytest.mark.parametrize(
    "line",
    [
        "{u'username': __import__('os').system('true')}",
        "{u'a': u'b'",
        "{u'a': u'b'} trailing",
        "\n{}",
        "[1]",
        "{u'a': u'\\N{no such}'}",
        "(" * 500,
    ],
)
def test_a_line_that_is_no_dictionary_is_named(tmp_path, line):
    path = packed(tmp_path / "x.gz", USUAL[0], line)
    with pytest.raises(DataError, match=r"x.gz: line 2: "):
        list(literal_records(path, {"a", "username"}))


def test_no_text_makes_the_match_slow(tmp_path):
    started = time.perf_counter()
    with pytest.raises(DataError):
        list(
            literal_records(
                packed(tmp_path / "x.gz", "{u'a': u'" + "\\\\" * 200000, "{u'a': [" + "1, " * 100000), {"a"}
            )
        )
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("line", ['{"a": 1', "[]", "\n{}", "NaN}"])
def test_a_line_that_is_no_json_object_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"x.gz: line 2: "):
        list(json_records(packed(tmp_path / "x.gz", '{"a": 1}', line)))


def test_a_truncated_file_is_named_with_the_last_good_line(tmp_path):
    path = packed(tmp_path / "x.gz", *(str(i) for i in range(50000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"x.gz: damaged after line \d+"):
        list(gzip_lines(path))
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"x.gz: damaged after line 0"):
        list(gzip_lines(path))


def test_plain_text():
    assert plain_text("Tom &amp; Jerry&#39;s") == "Tom & Jerry's"
    assert plain_text(" <b>Bold</b>\n<script>if (a < b) {}</script> end ") == "Bold end"
    assert plain_text("I <3 books, 2 &gt; 1") == "I <3 books, 2 > 1"
    assert plain_text(None) == plain_text(3) == ""
    assert plain_texts(["a", None, "", " b "]) == ["a", "b"]
    assert plain_texts("a") == ["a"]
    assert plain_texts(None) == []


def test_blank_lines_are_none_at_the_end_alone(tmp_path):
    path = packed(tmp_path / "x.gz", "a", "", "b", "", "  ", "")
    assert list(gzip_lines(path)) == [(1, "a"), (2, ""), (3, "b")]


def test_half_a_character_in_an_escape_is_replaced(tmp_path):
    lines = [r'{"a": "x\ud83d", "b": ["\udc00\ud83d\ude00", {"c\ud800": 1}]}']
    expected = {"a": "x\ufffd", "b": ["\ufffd\U0001f600", {"c\ufffd": 1}]}
    assert list(json_records(packed(tmp_path / "x.gz", *lines))) == [(1, expected)]
    literal = packed(tmp_path / "y.gz", r"{u'a': u'x\ud83d', 'b': ('\udc00', 2)}")
    assert list(literal_records(literal, {"a", "b"})) == [(1, {"a": "x\ufffd", "b": ("\ufffd", 2)})]
