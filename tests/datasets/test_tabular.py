"""Users' own tables: three formats, renamed columns, dates, attributes, and what is refused."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from prorl.config.prepare import Prepare, Tabular
from prorl.config.section import ConfigError
from prorl.datasets.tabular import read_tabular, timestamps
from prorl.errors import DataError
from prorl.params import read_params

MAPPING = Tabular(
    interactions={"user": "who", "item": "what", "timestamp": "when"},
    items={"item": "id", "title": "name", "attributes": "kinds", "maker": "maker"},
    separator="|",
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


DAY = 24 * 3600 * 1_000_000  # microseconds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12", "-3"], [12, -3]),
        ([12, 3], [12, 3]),
        ([12.0, 3.0], [12, 3]),
        (["1970-01-02", "1970-01-01T00:00:01Z", "1970-01-01 02:00:00.5+02:00"], [DAY, 1_000_000, 500_000]),
        ([date(1970, 1, 3), date(1970, 1, 1)], [2 * DAY, 0]),
        ([datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)], [1_000_005]),
    ],
)
def test_timestamps(values, expected):
    assert timestamps(pa.chunked_array([values]), Path("x.csv")).tolist() == expected


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
        ([5.5], "allowed: whole numbers or ISO dates"),
        ([[5]], "allowed: whole numbers or ISO dates"),
    ],
)
def test_other_timestamps_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        timestamps(pa.chunked_array([values]), Path("x.csv"))


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


def test_an_empty_id_is_named(tmp_path):
    write(tmp_path, "parquet", log=LOG.set_column(1, "who", pa.array(["a", None, "b"])))
    with pytest.raises(DataError, match=r"interactions.parquet: line 2: user is empty"):
        read_tabular(tmp_path, SETTINGS)


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
