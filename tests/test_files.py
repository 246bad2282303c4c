"""Files and folders are written whole or not at all."""

import shutil

import pytest

from prorl.files import atomic_file, atomic_folder, read_json, sha256_of, write_json


def write_half(target):
    """Write into `target`, an atomic file or folder, and fail."""
    with target as temporary:
        path = temporary / "fresh" if temporary.is_dir() else temporary
        path.write_text("ne")
        raise RuntimeError("half way")


def test_a_file_takes_its_place_only_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename is atomic only within one file system"
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(atomic_file(path))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_replaces_the_whole_of_the_old_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "stale").write_text("old")
    with atomic_folder(path) as temporary:
        (temporary / "fresh").write_text("new")
        assert (path / "stale").exists()
    assert [p.name for p in path.iterdir()] == ["fresh"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_removed_only_when_it_has_lost_its_name(tmp_path, monkeypatch):
    path, remove, removed = tmp_path / "folder", shutil.rmtree, []
    path.mkdir()
    (path / "stale").write_text("old")

    def removing(folder, ignore_errors):
        assert folder != path, "a process killed meanwhile would leave a part of it"
        removed.extend(file.name for file in folder.glob("*"))
        remove(folder, ignore_errors)

    with atomic_folder(path) as temporary:
        (temporary / "fresh").write_text("new")
        monkeypatch.setattr("prorl.files.shutil.rmtree", removing)
    assert removed == ["stale"]


def test_a_failed_block_leaves_the_old_folder_and_nothing_else(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "kept").write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(atomic_folder(path))
    assert [p.name for p in path.iterdir()] == ["kept"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_json_is_sorted_readable_and_the_same_for_the_same_value(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1.5, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1.5\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": 1.5}


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_broken_json_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not JSON"):
        read_json(tmp_path / "a.json")


def test_sha256_is_that_of_the_published_example(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
