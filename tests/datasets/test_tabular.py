"""Users' own tables: three formats, renamed columns, dates, attributes, and what is refused."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from prorl.config.prepare import Prepare, Tabular
from prorl.config.section import ConfigError
from prorl.datasets.delimited import ReadTable
from prorl.datasets.tabular import read_tabular
from prorl.datasets.times import timestamps
from prorl.errors import DataError
from prorl.params import read_params

MAPPING = Tabular(
    interactions={"user": "who", "item": "what", "timestamp": "when"},
    items={"item": "id", "title": "name", "attributes": "kinds", "maker": "maker"},
    separator="|",
    delimiter=None,
    quote='"',
    encoding="utf8",
    without_header=[],
)
SETTINGS = (
    read_params(Path(__file__).parents[2] / "params.yaml")
    .section(Prepare)
    .replace(
        attributes=["attributes"],
        tabular=MAPPING,
    )
)

LOG = pa.table(
    {"when": [30, 20, 10], "who": ["a", "b", "a"], "what": ["x", "x", "y"], "more": [1.5, 2.5, 3.5]}
)
ITEMS = pa.table(
    {"id": ["x", "y"], "name": ["The, X", 'Y "2"\nends'], "kinds": ["red | big||", ""], "maker": ["M", None]}
)


def write(folder, ending, log=LOG, items=ITEMS):
    for name, table in (("interactions", log), ("items", items)):
        path = folder / f"{name}.{ending}"
        if ending == "parquet":
            pa.parquet.write_table(table, path)
        else:
            pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter="," if ending == "csv" else "\t"))
    return folder


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv"])
def test_three_formats_give_the_same(tmp_path, ending):
    log = read_tabular(write(tmp_path, ending), SETTINGS)
    assert log.user_ids.to_pylist() == ["a", "b"]
    assert log.item_ids.to_pylist() == ["x", "y"]
    assert (log.user.tolist(), log.item.tolist(), log.timestamp.tolist()) == (
        [0, 1, 0],
        [0, 0, 1],
        [30, 20, 10],
    )
    assert log.items.to_dict("records") == [
        {"raw_id": "x", "title": "The, X", "attributes": ["red", "big"], "maker": "M"},
        {"raw_id": "y", "title": 'Y "2"\nends', "attributes": [], "maker": ""},
    ]


def test_attributes_as_lists_and_ids_as_numbers(tmp_path):
    log = LOG.set_column(2, "what", pa.array([7, 7, 8]))
    items = pa.table({"id": [7, 8], "kinds": [["a|b", None], None], "maker": ["", ""]})
    mapping = MAPPING.replace(items={**MAPPING.items, "title": None})
    read = read_tabular(write(tmp_path, "parquet", log, items), SETTINGS.replace(tabular=mapping))
    assert read.items["raw_id"].tolist() == ["7", "8"]
    assert read.items["attributes"].tolist() == [["a|b"], []]
    assert read.items["title"].tolist() == ["", ""]
    assert read.item_ids.to_pylist() == ["7", "8"]


def read_of(table):
    """A table as read from a file with a line of names."""
    return ReadTable(Path("x.csv"), table, 2)


DAY = 24 * 3600 * 1_000_000  # microseconds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12", "-3"], [12, -3]),
        ([12, 3], [12, 3]),
        ([12.0, 3.0], [12, 3]),
        (["12.0", "-3.00", "4"], [12, -3, 4]),
        (["1500000018000000000", "9223372036854775807"], [1500000018000000000, 2**63 - 1]),
        (["1970-01-02", "1970-01-01T00:00:01Z", "1970-01-01 02:00:00.5+02:00"], [DAY, 1_000_000, 500_000]),
        ([date(1970, 1, 3), date(1970, 1, 1)], [2 * DAY, 0]),
        ([datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)], [1_000_005]),
    ],
)
def test_timestamps(values, expected):
    assert timestamps(read_of(pa.table({"t": values})), "t").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["2020-01-01", "yesterday"],
            "x.csv: line 3: timestamp is 'yesterday', allowed: a whole number or an ISO date",
        ),
        (["2020-01-01", None], "x.csv: line 3: timestamp is None"),
        (["5", None], "x.csv: line 3: timestamp is None"),
        ([5, None], "x.csv: line 3: timestamp is None"),
        (["9223372036854775808"], "line 2: timestamp is '9223372036854775808'"),
        ([4.0, 5.5], "x.csv: line 3: timestamp is 5.5, allowed: a whole number or an ISO date"),
        ([[5]], r"column 't' is list<item: int64>, allowed: whole numbers or dates"),
        ([time(12, 30)], r"column 't' is time64\[us\], allowed: times with a date"),
    ],
)
def test_other_timestamps_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        timestamps(read_of(pa.table({"t": values})), "t")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_missing_column_is_named(tmp_path, ending):
    write(tmp_path, ending, log=LOG.drop_columns(["when"]))
    with pytest.raises(DataError, match=rf"interactions.{ending}: column 'when' is missing; found"):
        read_tabular(tmp_path, SETTINGS)
    write(tmp_path, ending, items=ITEMS.drop_columns(["kinds"]))
    with pytest.raises(DataError, match=rf"items.{ending}: column 'kinds' is missing; found"):
        read_tabular(tmp_path, SETTINGS)


def test_a_malformed_line_is_named(tmp_path):
    write(tmp_path, "csv")
    (tmp_path / "interactions.csv").write_text("when,who,what\n1,a,x\n2,a\n")
    with pytest.raises(DataError, match=r"interactions.csv: line 3: 2 values, allowed: 3"):
        read_tabular(tmp_path, SETTINGS)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_rows_without_an_id_are_left_out_and_counted(tmp_path, ending):
    log = LOG.set_column(1, "who", pa.array(["a", None, "b"])).set_column(
        2, "what", pa.array(["x", "x", "\\N"])
    )
    items = ITEMS.set_column(0, "id", pa.array(["x", None]))
    read = read_tabular(write(tmp_path, ending, log, items), SETTINGS)
    assert (read.user_ids.to_pylist(), read.item_ids.to_pylist(), read.timestamp.tolist()) == (
        ["a"],
        ["x"],
        [30],
    )
    assert read.unusable == {
        "items_without_id": 1,
        "interactions_without_user": 1,
        "interactions_without_item": 1,
    }
    assert read.items["raw_id"].tolist() == ["x"]


def test_ids_as_numbers_with_a_gap_are_spelt_as_whole_numbers_and_the_gap_is_no_user(tmp_path):
    log = LOG.set_column(1, "who", pa.array([7.0, float("nan"), None]))
    read = read_tabular(write(tmp_path, "parquet", log), SETTINGS)
    assert read.user_ids.to_pylist() == ["7"]
    assert read.unusable["interactions_without_user"] == 2


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_column_that_stands_there_twice_is_named(tmp_path, ending):
    twice = pa.Table.from_arrays([*LOG.columns, LOG["who"]], names=[*LOG.column_names, "who"])
    write(tmp_path, ending, log=twice)
    with pytest.raises(DataError, match=rf"interactions.{ending}: column 'who' stands there 2 times; found"):
        read_tabular(tmp_path, SETTINGS)


def test_a_column_without_texts_is_named(tmp_path):
    items = ITEMS.set_column(1, "name", pa.array([[{"a": 1}], []]))
    with pytest.raises(DataError, match=r"items.parquet: column 'name' is list<.*allowed: texts or lists"):
        read_tabular(write(tmp_path, "parquet", items=items), SETTINGS)
    items = ITEMS.set_column(1, "name", pa.array([{"a": 1}, None]))
    with pytest.raises(
        DataError, match=r"items.parquet: column 'name' is struct<.*allowed: texts or numbers"
    ):
        read_tabular(write(tmp_path, "parquet", items=items), SETTINGS)


def test_text_forms_of_other_programs(tmp_path):
    (tmp_path / "interactions.dat").write_bytes("a::x::30\nb::\xe9::20\n\n".encode("latin1"))
    (tmp_path / "items.dat").write_bytes('x::The "X::red|big\n\xe9::"::red\n'.encode("latin1"))
    mapping = MAPPING.replace(
        interactions={"user": "1", "item": "2", "timestamp": "3"},
        items={"item": "1", "title": "2", "attributes": "3"},
        delimiter="::",
        quote=None,
        encoding="latin1",
        without_header=["interactions", "items"],
    )
    read = read_tabular(tmp_path, SETTINGS.replace(tabular=mapping))
    assert read.item_ids.to_pylist() == ["x", "\xe9"]
    assert read.items["title"].tolist() == ['The "X', '"']
    assert read.items["attributes"].tolist() == [["red", "big"], ["red"]]
    with pytest.raises(
        ConfigError, match=r"prepare.tabular.delimiter: got null, allowed for interactions.dat"
    ):
        read_tabular(tmp_path, SETTINGS.replace(tabular=mapping.replace(delimiter=None)))


def test_a_byte_order_mark_and_blank_last_lines_are_no_part_of_the_table(tmp_path):
    write(tmp_path, "csv")
    path = tmp_path / "interactions.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n  \n\n")
    assert len(read_tabular(tmp_path, SETTINGS).user) == 3


def test_bytes_in_another_encoding_are_one_line(tmp_path):
    write(tmp_path, "csv")
    (tmp_path / "items.csv").write_bytes(b"id,name,kinds,maker\nx,\xe9,red,M\n")
    with pytest.raises(DataError, match=r"items.csv: not readable as delimited text in utf8"):
        read_tabular(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quote": "''"}, "quote: got \"''\", allowed: one character"),
        ({"delimiter": ""}, "delimiter: got '', allowed: at least one character"),
        ({"encoding": "utf9"}, "encoding: got 'utf9', allowed: an encoding that Python knows"),
    ],
)
def test_text_forms_that_are_none(changes, message):
    with pytest.raises(ConfigError, match=message):
        MAPPING.replace(**changes)


def test_what_is_no_parquet(tmp_path):
    write(tmp_path, "parquet")
    (tmp_path / "items.parquet").write_text("no")
    with pytest.raises(DataError, match=r"items.parquet: not readable as parquet"):
        read_tabular(tmp_path, SETTINGS)


def test_a_mapping_without_user(tmp_path):
    mapping = MAPPING.replace(interactions={"item": "what", "timestamp": "when"})
    with pytest.raises(
        ConfigError, match=r"prepare.tabular.interactions.user: got null, allowed: the name of a column"
    ):
        read_tabular(write(tmp_path, "csv"), SETTINGS.replace(tabular=mapping))
