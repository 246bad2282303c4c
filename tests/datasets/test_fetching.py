"""Raw files from package, archive and publisher, checked, and nothing left behind where a check fails."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from prorl.config.fetch import Fetch, OwnFiles
from prorl.config.section import ConfigError, build
from prorl.datasets import DATASETS, fetching
from prorl.datasets.fetching import fetch, fetched_source
from prorl.datasets.sources import InstalledFiles, Remote, Source
from prorl.errors import DataError
from prorl.files import read_json, write_json


def read_nothing(folder, settings):
    raise AssertionError("fetching reads no raw file")


@pytest.fixture
def into(tmp_path):
    """`fetch(dataset, **settings)` into a folder of its own."""

    def run(dataset, archives=None, source=None, archive=None):
        fetch(
            dataset,
            Fetch(source=source, archive=archive, files=None),
            tmp_path / "raw",
            archives=archives,
            downloads=tmp_path / "downloads",
            checksums=tmp_path / "checksums.json",
            every_seconds=1,
        )
        return read_json(tmp_path / "raw" / "fetched.json")

    return run


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_movielens_100k_from_the_installed_package(into, tmp_path):
    record = into("ml-100k")
    assert record["source"] == "ml-100k"
    assert record["package"] == "recbole"
    assert record["files"] == DATASETS["ml-100k"].installed.sha256
    assert fetched_source(tmp_path / "raw") is DATASETS["ml-100k"]


def test_an_installed_file_with_another_checksum_leaves_nothing(into, tmp_path, monkeypatch):
    source = DATASETS["ml-100k"]
    installed = InstalledFiles(
        "recbole", source.installed.folder, {**source.installed.sha256, "ml-100k.item": "0" * 64}
    )
    monkeypatch.setitem(DATASETS, "ml-100k", Source(source.files, source.read, installed=installed))
    with pytest.raises(DataError, match=r"ml-100k.item: SHA-256 is 51d7\w+, allowed: 0000"):
        into("ml-100k")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (InstalledFiles("no_such_package", "x", {"a": ""}), "package no_such_package is not installed"),
        (InstalledFiles("prorl", "x", {"a": ""}), "no such file in the installed package prorl"),
    ],
)
def test_a_package_without_the_files(into, tmp_path, monkeypatch, installed, message):
    monkeypatch.setitem(DATASETS, "ml-100k", Source((("a",),), read_nothing, installed=installed))
    with pytest.raises(DataError, match=message):
        into("ml-100k")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_names_those_there_are(into):
    with pytest.raises(
        ConfigError,
        match=r"fetch.netflix.source: data set 'netflix' has source 'netflix', "
        "allowed: ml-100k, ml-1m, steam",
    ):
        into("netflix")


def test_a_source_without_a_place_needs_an_archive(into):
    with pytest.raises(ConfigError, match=r"fetch.shop.archive: got null"):
        into("shop", source="tabular")


def test_an_archive_comes_first_and_its_checksum_is_recorded(into, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "x", Source((("a",), ("b",)), read_nothing))
    home = tmp_path / "archives"
    home.mkdir()
    with zipfile.ZipFile(home / "x-ordered.zip", "w") as zipped:
        zipped.writestr("x/a", "from the folder of archives")
        zipped.writestr("x/b", "")
    record = into("x", archives=home)
    assert record["archive"] == {
        "name": "x-ordered.zip",
        "sha256": sha256((home / "x-ordered.zip").read_bytes()),
    }
    assert (tmp_path / "raw" / "a").read_text() == "from the folder of archives"

    own = tmp_path / "own"
    own.mkdir()
    for name in ("a", "b"):
        (own / name).write_text("named in the settings")
    record = into("x", archives=home, archive=str(own))
    assert record["archive"] == {"name": "own", "sha256": None}
    assert record["files"]["a"] == sha256(b"named in the settings")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["a", "b", "fetched.json"]


def test_no_archive_of_this_data_set_means_the_sources_own_place(into, tmp_path):
    (tmp_path / "archives").mkdir()
    assert into("ml-100k", archives=tmp_path / "archives")["package"] == "recbole"


@pytest.fixture
def web(monkeypatch):
    """A web of files by address, in the place of `download`."""
    files = {}

    def download(url, path, every_seconds):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[url])

    monkeypatch.setattr(fetching, "download", download)
    return files


def test_raw_files_and_zips_are_downloaded_and_checked(into, tmp_path, monkeypatch, web):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as zipped:
        zipped.writestr("x/a", "in the zip")
    packed = (tmp_path / "z.zip").read_bytes()
    web["http://host/z.zip"] = packed
    monkeypatch.setitem(
        DATASETS, "x", Source((("a",),), read_nothing, (Remote("http://host/z.zip", sha256(packed)),))
    )
    assert into("x")["downloads"] == {"z.zip": sha256(packed)}
    assert (tmp_path / "raw" / "a").read_text() == "in the zip"
    assert not (tmp_path / "checksums.json").exists()
    assert not (tmp_path / "downloads").exists()

    web["http://host/z.zip"] = packed[:-1]
    with pytest.raises(DataError, match=r"http://host/z.zip: SHA-256 is \w+, allowed: "):
        into("x")
    assert list((tmp_path / "downloads").iterdir()) == []
    assert (tmp_path / "raw" / "a").exists()  # the earlier fetch stands


def test_a_checksum_nobody_states_is_recorded_once_and_verified_after(into, tmp_path, monkeypatch, web):
    web["http://host/a.gz"] = b"first"
    monkeypatch.setitem(
        DATASETS, "x", Source((("a.gz",),), read_nothing, (Remote("http://host/a.gz", None),))
    )
    write_json(tmp_path / "checksums.json", {"other": "kept"})
    into("x")
    assert read_json(tmp_path / "checksums.json") == {"other": "kept", "a.gz": sha256(b"first")}
    into("x")
    web["http://host/a.gz"] = b"second"
    with pytest.raises(DataError, match=r"recorded in .*checksums.json at the first download"):
        into("x")
    assert (tmp_path / "raw" / "a.gz").read_bytes() == b"first"


def test_raw_files_that_were_not_fetched(tmp_path):
    with pytest.raises(DataError, match="run the fetch stage first"):
        fetched_source(Path(tmp_path))


def test_the_two_files_of_a_tabular_source_by_any_name(tmp_path):
    (tmp_path / "ratings.csv").write_text("a")
    (tmp_path / "films.of.mine.tsv").write_text("b")
    files = OwnFiles(interactions=str(tmp_path / "ratings.csv"), items=str(tmp_path / "films.of.mine.tsv"))
    settings = Fetch(source="tabular", archive=None, files=files)
    places = {"archives": None, "downloads": tmp_path / "d", "checksums": tmp_path / "c", "every_seconds": 1}
    fetch("own", settings, tmp_path / "raw", **places)
    assert (tmp_path / "raw/interactions.csv").read_text() == "a"
    assert (tmp_path / "raw/items.tsv").read_text() == "b"
    assert read_json(tmp_path / "raw/fetched.json")["files_taken"] == {
        "interactions": "ratings.csv",
        "items": "films.of.mine.tsv",
    }
    (tmp_path / "ratings.csv").unlink()
    with pytest.raises(DataError, match=r"ratings.csv: no such file; fetch.files.interactions names it"):
        fetch("own", settings, tmp_path / "other", **places)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"archive": "x.zip"}, "files: got a mapping, allowed: null where fetch.archive is set"),
        ({"source": "steam"}, "files: got a mapping, allowed: null where fetch.source is not tabular"),
    ],
)
def test_files_beside_another_place_are_refused(changes, message):
    values = {"source": "tabular", "archive": None, "files": {"interactions": "a", "items": "b"}}
    with pytest.raises(ConfigError, match=message):
        build(Fetch, values | changes, "fetch", "params.yaml")
