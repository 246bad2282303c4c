"""Attributes and profile texts."""

import json

import pandas as pd
import pytest

from prorl.config.section import ConfigError
from prorl.datasets.profiles import attribute_lists, item_texts, read_profiles
from prorl.tables import DataError

ITEMS = pd.DataFrame(
    {
        "raw_id": ["x", "y", "z"],
        "title": ["Toy Story", "Braces {year}", ""],
        "year": ["1995", "", ""],
        "genres": [["A", "B"], [], ["C"]],
        "tags": [["B", "D"], ["", "E"], []],
        "maker": ["M", "", "C"],
    }
)


def test_attributes_of_several_fields_each_once():
    assert attribute_lists(ITEMS, ["genres", "tags", "maker"]) == [["A", "B", "D", "M"], ["E"], ["C"]]
    assert attribute_lists(ITEMS, []) == [[], [], []]
    with pytest.raises(
        ConfigError, match=r"prepare.attributes: got 'genre', allowed: title, year, genres, tags, maker"
    ):
        attribute_lists(ITEMS, ["genre"])


def test_pieces_with_an_empty_field_are_left_out():
    texts = item_texts(
        ITEMS,
        [["A", "B"], [], ["C"]],
        ["{title}", "({year})", "Kinds: {attributes}.", "{title:.3} by {maker}"],
    )
    assert texts == ["Toy Story (1995) Kinds: A, B. Toy by M", "Braces {year}", "Kinds: C."]


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (
            "{plot}",
            r"prepare.profile: '{plot}' has field 'plot', "
            r"allowed: title, year, genres, tags, maker, attributes",
        ),
        ("{title.__class__}", "has field 'title.__class__'"),
        ("{title[0]}", r"has field 'title\[0\]'"),
        ("{}", "has field ''"),
        ("{title:{maker.x}}", "has a field inside a field"),
        ("{title", "is no template"),
        ("{title:d}", "is no template"),
    ],
)
def test_templates_reach_nothing_but_fields(piece, message):
    with pytest.raises(ConfigError, match=message):
        item_texts(ITEMS, [[], [], []], [piece])


def test_texts_made_elsewhere(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"y": "why", "x": "ex", "unused": "u"}))
    (tmp_path / "p.csv").write_text('raw_id,text\ny,why\nx,"ex"\n')
    for name in ("p.json", "p.csv"):
        assert read_profiles(tmp_path / name, ["x", "y"]) == ["ex", "why"]
        with pytest.raises(DataError, match=r"2 of 3 items have no text, the first is 'v'"):
            read_profiles(tmp_path / name, ["x", "v", "w"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", "not JSON"),
        ("p.json", '{"x": 1}', "one object of raw item id -> text"),
        ("p.csv", "id,text\nx,y\n", "column 'raw_id'"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_profiles(tmp_path / name, ["x"])


def test_a_missing_file_of_texts(tmp_path):
    with pytest.raises(DataError, match=r"no such file; prepare.profiles names it"):
        read_profiles(tmp_path / "p.json", ["x"])
