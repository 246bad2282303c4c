"""Zips and folders of raw files that are spoilt or hostile: read, or one line that names the archive."""

import os
import zipfile
from io import BytesIO

import pytest
from hypothesis import given

from prorl.datasets.archives import take_files
from prorl.errors import DataError
from tests.hostile import BOUNDED, any_bytes, only_declared

FILES = (("a.csv",), ("b.csv",))


def test_a_spoilt_zip_is_read_or_refused_in_one_line(tmp_path):
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        for (name,) in FILES:
            zipped.writestr(f"folder/{name}", name * 50)
    archive, folder = tmp_path / "x.zip", tmp_path / "out"
    folder.mkdir()

    @BOUNDED
    @given(any_bytes(stream.getvalue()))
    def spoilt(content):
        archive.write_bytes(content)
        with only_declared(tmp_path):
            take_files(archive, FILES, folder)
        assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "out"}

    spoilt()


def zip_of(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)


@pytest.mark.parametrize("name", ["../a.csv", "/tmp/a.csv", "x/../../a.csv", "C:\\a.csv", "..\\a.csv"])
def test_no_member_of_a_zip_lands_outside_the_folder(name, tmp_path):
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(name), "1")
        zipped.writestr("b.csv", "1")
    with pytest.raises(DataError, match=r"x.zip: member"):
        take_files(tmp_path / "x.zip", FILES, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "x.zip"]


@pytest.mark.parametrize("name", ["", ".", "./"])
def test_a_member_of_a_zip_without_a_name_is_refused(name, tmp_path):
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("?", "1")
        for other in ("a.csv", "b.csv"):
            zipped.writestr(other, "1")
        zipped.infolist()[0].filename = name
    with pytest.raises(DataError, match=r"x.zip: member .*: allowed: a name"):
        take_files(tmp_path / "x.zip", FILES, tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_a_zip_that_cannot_be_unpacked_is_refused(method, tmp_path):
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as zipped:
        for name in ("a.csv", "b.csv"):
            zipped.writestr(name, "1,2\n" * 100)
    good = (tmp_path / "x.zip").read_bytes()
    begin = good.index(b"a.csv") + 5
    (tmp_path / "x.zip").write_bytes(good[:begin] + b"\xff" * 20 + good[begin + 20 :])
    with pytest.raises(DataError, match=r"x.zip: not readable as a zip"):
        take_files(tmp_path / "x.zip", FILES, tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    link = zipfile.ZipInfo("a.csv")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
        zipped.writestr("b.csv", "1")
    with pytest.raises(DataError, match=r"'a.csv' is a link or device"):
        take_files(tmp_path / "x.zip", FILES, tmp_path / "out")


def test_a_zip_that_unpacks_to_more_than_allowed_is_refused(tmp_path):
    zip_of(tmp_path / "x.zip", **{"a.csv": b"0" * 2**22, "b.csv": b""})
    assert (tmp_path / "x.zip").stat().st_size < 2**14
    with pytest.raises(DataError, match=r"x.zip: 4194304 bytes when unpacked, allowed: at most 1048576"):
        take_files(tmp_path / "x.zip", FILES, tmp_path, max_bytes=2**20)


def test_a_link_to_nothing_and_a_pipe_are_no_raw_files(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"0 files named a.csv"):
        take_files(tmp_path, FILES, tmp_path)
