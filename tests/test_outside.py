"""Checksums of files that settings name from outside the repository."""

import json
import os
import sys
from pathlib import Path

import pytest

from prorl import outside
from prorl.config.embed import Embed, EmbeddingImport
from prorl.config.fetch import Fetch, OwnFiles
from prorl.config.guide import Guide
from prorl.config.language_model import LanguageModel
from prorl.config.prepare import Prepare
from prorl.files import read_json, sha256_of
from prorl.outside import (
    Checksums,
    Outside,
    module_file,
    of_causal,
    of_embed,
    of_fetch,
    of_files,
    of_guides,
    of_objects,
    of_prepare,
    of_released,
    record,
    remove_others,
    state_of,
)
from prorl.params import read_params
from tools.stage_dependencies import ROOT

CODES = {
    "import": None,
    "texts": "prepared",
    "model": "lsa",
    "dimension": 2,
    "batch_size": 1,
    "max_tokens": 8,
}


@pytest.fixture
def read(monkeypatch):
    """Names of the files that were read for a checksum."""
    names = []

    def counted(path):
        names.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(outside, "sha256_of", counted)
    return names


def test_a_file_is_read_again_only_after_its_size_or_time_changed(tmp_path, read):
    file, cache = tmp_path / "codes.json", tmp_path / "cache.json"
    file.write_text("one")

    def checksum():
        checksums = Checksums(cache)
        found = checksums.of(Outside("codes", file))
        checksums.save()
        return found

    first = checksum()
    assert first == sha256_of(file)
    assert checksum() == first
    assert read == ["codes.json"]
    os.utime(file, ns=(0, 1))
    assert checksum() == first
    file.write_text("two!")
    os.utime(file, ns=(0, 1))
    assert checksum() == sha256_of(file) != first
    assert read == ["codes.json"] * 3


def test_the_checksum_of_a_folder_is_one_of_the_names_and_bytes_that_are_read(tmp_path):
    for name, text in {"a/x": "1", "a/deep/y": "2", "a/readme": "3"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def checksum(only=None):
        return Checksums(tmp_path / "cache.json").of(Outside("a", tmp_path / "a", only))

    all_files, one = checksum(), checksum(("x",))
    (tmp_path / "a/readme").write_text("33")
    assert checksum(("x",)) == one
    assert checksum() != all_files
    (tmp_path / "a/x").rename(tmp_path / "a/z")
    assert checksum(("x", "z")) != one


def test_what_is_asked_for_no_longer_leaves_the_cache(tmp_path):
    cache = tmp_path / "cache.json"
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        checksums = Checksums(cache)
        checksums.of(Outside(name, tmp_path / name))
        checksums.save()
    assert list(read_json(cache)) == [str(tmp_path / "b")]


def test_an_absent_file_keeps_its_checksum_with_a_warning_and_an_unknown_one_is_null(tmp_path, capsys):
    path, file = tmp_path / "mine.json", tmp_path / "start.train"
    file.write_text("one")
    files = [Outside("start.train", file), Outside("start.val", tmp_path / "start.val")]
    record(path, files, Checksums(tmp_path / "cache.json"))
    recorded = {"start.train": sha256_of(file), "start.val": None}
    assert read_json(path) == recorded
    assert capsys.readouterr().err == ""
    file.unlink()
    record(path, files, Checksums(tmp_path / "cache.json"))
    assert read_json(path) == recorded
    assert capsys.readouterr().err == f"{path}: start.train is absent; its recorded checksum stays\n"
    record(path, files[1:], Checksums(tmp_path / "cache.json"))
    assert read_json(path) == {"start.val": None}, "what is named no longer is forgotten"


def test_an_optional_file_is_recorded_once_it_was_there(tmp_path, capsys):
    path, model = tmp_path / "embed.json", tmp_path / "model"
    settings = Embed(**CODES | {"model": str(model)}, precision="float32")
    record(path, of_embed(settings), Checksums(tmp_path / "cache.json"))
    assert read_json(path) == {}, "it may be a name that is no folder"
    model.mkdir()
    (model / "config.json").write_text("{}")
    record(path, of_embed(settings), Checksums(tmp_path / "cache.json"))
    recorded = read_json(path)
    assert list(recorded) == [str(model)]
    (model / "config.json").unlink()
    model.rmdir()
    record(path, of_embed(settings), Checksums(tmp_path / "cache.json"))
    assert read_json(path) == recorded
    assert "model is absent" in capsys.readouterr().err


def test_a_file_that_holds_the_checksums_already_is_not_written_again(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({}))
    record(path, [], Checksums(tmp_path / "cache.json"))
    assert path.read_text() == "{}"


def test_fetch_reads_the_settings_archive_or_else_that_of_the_environment(tmp_path):
    settings, own = (
        Fetch(source="ml-100k", archive=None, files=None),
        Fetch(source="ml-100k", archive="own.zip", files=None),
    )
    assert [file.name for file in of_fetch("tiny", own, tmp_path)] == ["own.zip"]
    (absent,) = of_fetch("tiny", settings, None)
    assert (absent.name, absent.path, absent.optional) == ("PRORL_ARCHIVES", None, True)
    (tmp_path / "tiny-2.zip").write_bytes(b"")
    (found,) = of_fetch("tiny", settings, tmp_path)
    assert (found.name, found.path) == ("PRORL_ARCHIVES", tmp_path / "tiny-2.zip")
    assert {"ml-100k.inter", "u.data"} & set(found.only)


def test_an_archive_keeps_its_checksum_where_its_folder_is_gone_or_holds_another(tmp_path, capsys):
    settings, folder = Fetch(source="ml-100k", archive=None, files=None), tmp_path / "archives"
    path = tmp_path / "fetch.json"

    def recorded():
        record(path, of_fetch("tiny", settings, folder), Checksums(tmp_path / "cache.json"))
        return read_json(path), capsys.readouterr().err != ""

    assert recorded() == ({}, False)
    folder.mkdir()
    (folder / "tiny.zip").write_bytes(b"one")
    found = {"PRORL_ARCHIVES": sha256_of(folder / "tiny.zip")}
    assert recorded() == (found, False)
    (folder / "tiny-2.zip").write_bytes(b"two")
    assert recorded() == (found, True)
    folder.rename(tmp_path / "moved")
    assert recorded() == (found, True)


def test_imports_are_named_as_settings_name_them():
    vectors = EmbeddingImport(vectors="../v.npy", items="i.json")
    embed = Embed(**CODES | {"import": vectors}, precision="float32")
    assert [file.name for file in of_embed(embed)] == ["../v.npy", "i.json"]
    assert of_files(None) == []
    assert [(file.name, str(file.path)) for file in of_files("a", None, "b/c")] == [
        ("a", "a"),
        ("b/c", "b/c"),
    ]


def test_a_class_of_the_users_own_is_found_anywhere_in_settings_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "own_users_package"
    package.mkdir()
    for name in ("__init__.py", "fast.py"):
        (package / name).write_text("raise RuntimeError('imported')\n")
    monkeypatch.chdir(tmp_path)
    values = {"class": "own_users_package.fast:Users", "rates": [1, {"own_users_package:reward": 2.0}]}
    found = of_objects(
        values, None, {"again": "own_users_package.fast:Users", "text": "a: b", "path": "c:/d"}
    )
    assert [(file.name, file.path) for file in found] == [
        ("own_users_package.fast:Users", package / "fast.py"),
        ("own_users_package:reward", package / "__init__.py"),
    ]
    assert "own_users_package" not in sys.modules
    monkeypatch.chdir(tmp_path.parent)
    assert module_file("own_users_package") is None
    monkeypatch.syspath_prepend(str(tmp_path))
    assert module_file("own_users_package") == package / "__init__.py"
    assert module_file("own_users_package.slow") is None
    assert module_file("own_users_package.fast.deeper") is None
    assert module_file("no_such_package.fast") is None
    assert module_file(".own_users_package") is None


def test_a_module_without_a_spec_has_no_file(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert module_file("__main__") is None
    (found,) = of_objects("__main__:Users")
    assert found.path is None


def test_a_guide_is_read_from_its_path_and_its_class_where_it_is_listed():
    search, own = {"simulator": "SASRec"}, {"kind": "policy", "path": "models/own"}
    section = Guide.model_validate({"search": search, "own": own, "made": {"kind": "no_such:Guide"}})
    assert [file.name for file in of_guides(section, ["search", "made", "own"])] == [
        "models/own",
        "no_such:Guide",
    ]
    assert of_guides(section, ["search"]) == []


def test_files_of_simulators_that_are_no_more_are_removed(tmp_path):
    for name in ("SASRec", "GRU4Rec"):
        (tmp_path / f"{name}.json").write_text("{}")
    remove_others(tmp_path, ["SASRec"])
    assert [path.name for path in tmp_path.iterdir()] == ["SASRec.json"]


def test_the_state_of_files_changes_with_size_time_and_number(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    state = state_of([a, b])
    assert state_of([b, a]) == state
    others = [state_of([a])]
    os.utime(b, ns=(0, 1))
    others.append(state_of([a, b]))
    b.write_text("22")
    os.utime(b, ns=(0, 1))
    others.append(state_of([a, b]))
    assert len({state, *others}) == 4


def test_released_files_are_inputs_of_the_stages_that_read_them():
    names = ["f/ml.train", "f/ml.val", "f/ml.test", "f/ml.datamaps"]
    assert [outside.name for outside in of_released("f/ml")] == names
    assert of_released(None) == []
    settings = read_params(ROOT / "params.yaml").section(Prepare)
    assert of_prepare(settings) == []
    both = of_prepare(settings.replace(profiles="texts.json", split_from="f/ml"))
    assert [outside.name for outside in both] == ["texts.json", *names]


def test_a_causal_model_is_an_input_of_the_data_sets_that_are_listed():
    settings = (
        read_params(ROOT / "params.yaml").section(LanguageModel).replace(datasets=["a"], model="m/x.gguf")
    )
    assert of_causal(settings, "b") == []
    [outside] = of_causal(settings, "a")
    assert (outside.name, outside.path, outside.optional) == ("m/x.gguf", Path("m/x.gguf"), True)


def test_an_edit_in_place_of_a_file_of_ones_own_is_noticed(tmp_path):
    """The stage `fetch` depends on this record, so the next `dvc repro` fetches again."""
    own = {name: tmp_path / f"{name}.csv" for name in ("ratings", "films")}
    for path in own.values():
        path.write_text("x")
    files = OwnFiles(interactions=str(own["ratings"]), items=str(own["films"]))
    settings = Fetch(source="tabular", archive=None, files=files)

    def recorded():
        checksums = Checksums(tmp_path / "cache.json")
        record(tmp_path / "fetch.json", of_fetch("own", settings, None), checksums)
        checksums.save()
        return read_json(tmp_path / "fetch.json")

    before = recorded()
    assert before == recorded() == {str(path): sha256_of(path) for path in own.values()}
    own["ratings"].write_text("longer")
    assert recorded() == before | {str(own["ratings"]): sha256_of(own["ratings"])}
