"""Tables in folders: fetched whole, read in the order of names, elsewhere only by Spark."""

import pytest

from prorl.config.fetch import Fetch, OwnFiles
from prorl.config.section import ConfigError
from prorl.datasets.fetching import fetch
from prorl.datasets.tabular import TABULAR
from prorl.errors import DataError
from prorl.files import read_json
from tests.spark.logs import settings


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    (folder / "b").mkdir(parents=True)
    (folder / "a.csv").write_text("user,item,timestamp\nx,i1,1\ny,i1,2\n")
    (folder / "b/1.csv").write_text("user,item,timestamp\ny,i2,3\nz,i1,4\n")
    (folder / "_SUCCESS").touch()
    (tmp_path / "items.csv").write_text("item,title,attributes\ni1,one,a\ni2,two,b\n")
    return folder


def fetched(tmp_path, interactions):
    files = OwnFiles(interactions=str(interactions), items=str(tmp_path / "items.csv"))
    wanted = Fetch(source="tabular", archive=None, files=files)
    places = {"archives": None, "downloads": tmp_path / "downloads", "checksums": tmp_path / "checksums.json"}
    fetch("shop", wanted, tmp_path / "raw", every_seconds=1, **places)
    return tmp_path / "raw"


def test_a_folder_is_fetched_with_its_parts_alone_and_read_in_their_order(tmp_path, log):
    raw = fetched(tmp_path, log)
    names = sorted(read_json(raw / "fetched.json")["files"])
    assert names == ["interactions.csv/a.csv", "interactions.csv/b/1.csv", "items.csv"]
    read = TABULAR.read(raw, settings())
    assert read.user_ids.to_pylist() == ["x", "y", "z"]
    assert read.user.tolist() == [0, 1, 1, 2]
    assert read.timestamp.tolist() == [1, 2, 3, 4]


def test_a_bad_row_is_named_in_its_part(tmp_path, log):
    (log / "b/1.csv").write_text("user,item,timestamp\ny,i2,3\nz,i1,late\n")
    with pytest.raises(DataError, match=r"interactions.csv/b/1.csv: line 3: timestamp is 'late'"):
        TABULAR.read(fetched(tmp_path, log), settings())


def test_parts_with_other_columns_are_refused(tmp_path, log):
    (log / "b/1.csv").write_text("user,item,when\ny,i2,3\n")
    with pytest.raises(DataError, match=r"b/1.csv: columns are .*when.*, allowed: those of the first part"):
        TABULAR.read(fetched(tmp_path, log), settings())


def test_a_log_elsewhere_is_read_by_spark_alone(tmp_path, log):
    raw = fetched(tmp_path, "s3://bucket/log")
    assert (raw / "interactions.url").read_text() == "s3://bucket/log"
    with pytest.raises(
        ConfigError, match=r"got local, allowed for the interactions at s3://bucket/log: spark"
    ):
        TABULAR.read(raw, settings())
