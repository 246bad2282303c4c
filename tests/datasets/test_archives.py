"""Local archives: which is taken, and what an unsafe one is refused for."""

import stat
import zipfile

import pytest

from prorl.datasets.archives import find_archive, take_files
from prorl.errors import DataError

FILES = (("ratings.dat",), ("movies.dat", "movies.csv"))


def make_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in members.items():
            zipped.writestr(name, text)
    return path


def test_one_zip_beside_or_inside_the_data_sets_folder_or_raw_files(tmp_path):
    assert find_archive("x", FILES, tmp_path) is None
    (tmp_path / "x").mkdir()
    assert find_archive("x", FILES, tmp_path) is None
    (tmp_path / "x" / "ratings.dat").write_text("")
    assert find_archive("x", FILES, tmp_path) == tmp_path / "x"
    inside = make_zip(tmp_path / "x" / "x-ordered.zip", {})
    assert find_archive("x", FILES, tmp_path) == inside
    assert find_archive("x", FILES, tmp_path / "x") == inside
    make_zip(tmp_path / "x.zip", {})
    with pytest.raises(DataError, match=r"2 archives of x: .*allowed: exactly one"):
        find_archive("x", FILES, tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder; PRORL_ARCHIVES must name one"):
        find_archive("x", FILES, tmp_path / "nowhere")


def test_files_leave_the_zips_folders(tmp_path):
    archive = make_zip(
        tmp_path / "x.zip", {"x/ratings.dat": "r", "x/deep/movies.csv": "m", "x/README": "unused"}
    )
    take_files(archive, FILES, tmp_path)
    assert (tmp_path / "ratings.dat").read_text() == "r"
    assert (tmp_path / "movies.csv").read_text() == "m"
    assert not (tmp_path / "README").exists()


def test_files_of_a_folder(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "ratings.dat").write_text("r")
    with pytest.raises(DataError, match=r"0 files named movies.dat or movies.csv, allowed: exactly one"):
        take_files(tmp_path / "from", FILES, tmp_path / "to")
    (tmp_path / "from" / "movies.dat").write_text("m")
    take_files(tmp_path / "from", FILES, tmp_path / "to")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["movies.dat", "ratings.dat"]


GOOD = {"ratings.dat": "r", "movies.dat": "m"}


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "x/../../evil", "x\\..\\evil", "C:/evil"])
def test_paths_that_lead_outside_are_refused(tmp_path, name):
    archive = make_zip(tmp_path / "x.zip", {**GOOD, name: "evil"})
    with pytest.raises(DataError, match="allowed: relative paths without"):
        take_files(archive, FILES, tmp_path)


def test_links_are_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", GOOD)
    with zipfile.ZipFile(archive, "a") as zipped:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link or device"):
        take_files(archive, FILES, tmp_path)


def test_more_than_the_limit_is_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"ratings.dat": "0" * 1000, "movies.dat": "m"})
    with pytest.raises(DataError, match="1001 bytes when unpacked, allowed: at most 1000"):
        take_files(archive, FILES, tmp_path, max_bytes=1000)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"ratings.dat": "0" * 100000, "movies.dat": "m"})
    # The declared size stands in the local header and in the central directory.
    archive.write_bytes(
        archive.read_bytes().replace((100000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    )
    with pytest.raises(DataError, match=r"x.zip"):
        take_files(archive, FILES, tmp_path, max_bytes=1000)
    assert (tmp_path / "ratings.dat").stat().st_size <= 10


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="not readable as a zip"):
        take_files(tmp_path / "x.zip", FILES, tmp_path)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.zip: no such file or folder"):
        take_files(tmp_path / "gone.zip", FILES, tmp_path)


def test_the_same_file_twice_is_refused(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {**GOOD, "old/ratings.dat": "r"})
    with pytest.raises(DataError, match=r"2 files named ratings.dat, allowed: exactly one"):
        take_files(archive, FILES, tmp_path)
