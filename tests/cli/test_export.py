"""`prorl export`: a released policy elsewhere, and `prorl datasets list`."""

import json
import os
import shutil
import signal
import tarfile
import zipfile

import pytest

from prorl.bundle.policy import load_policy
from tests.cli.checkout import POLICY
from tests.tiny_models import ROOT


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_a_policy_again(checkout, prorl, tmp_path):
    status, out, _ = prorl("export", str(tmp_path / "there"))
    assert status == 0
    again = load_policy(tmp_path / "there")
    assert out == f"tiny/prorl, version {again.version}: {tmp_path / 'there'}\n"
    assert names(tmp_path / "there") == names(checkout / POLICY)


@pytest.mark.parametrize(("ending", "opened"), [(".zip", zipfile.ZipFile), (".tar.gz", tarfile.open)])
def test_an_archive_holds_one_folder_of_its_name(checkout, prorl, tmp_path, ending, opened):
    path = tmp_path / f"tiny{ending}"
    assert prorl("export", str(path), "--policy", POLICY)[0] == 0
    with opened(path) as archive:
        archive.extractall(tmp_path / "out", **({"filter": "data"} if ending == ".tar.gz" else {}))
    assert names(tmp_path / "out/tiny") == names(checkout / POLICY)
    assert load_policy(tmp_path / "out/tiny").version == load_policy(checkout / POLICY).version
    assert [file.name for file in tmp_path.iterdir() if file.name != "out"] == [path.name]


@pytest.mark.parametrize("name", ["there", "there.zip"])
def test_a_killed_export_leaves_nothing_of_that_name_and_the_next_one_clears_up(
    checkout, prorl, tmp_path, name
):
    path = tmp_path / name
    child = os.fork()
    if child == 0:  # killed while the third file is written
        copied, write = [], shutil.copyfile

        def copy(source, target):
            copied.append(source)
            if len(copied) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            write(source, target)

        shutil.copyfile = copy
        prorl("export", str(path))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [left.name for left in tmp_path.iterdir()] == [f".{name}.unfinished"]
    other = tmp_path / f".{name}.unfinished/.export.{os.getppid()}.partial"  # of a process that runs
    other.mkdir()
    assert prorl("export", str(path))[0] == 0
    assert list(other.parent.iterdir()) == [other]
    other.rmdir()
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert prorl("export", str(path))[0] == 0
    assert list(tmp_path.iterdir()) == [path]


def test_the_hub_gets_it_by_name(checkout, prorl, monkeypatch):
    pushed = []

    def push(self, repo_id, *, private=None):
        pushed.append((self.name, repo_id, private))
        return f"https://hub/{repo_id}"

    monkeypatch.setattr("prorl.bundle.policy.ReleasedPolicy.push_to_hub", push)
    status, out, _ = prorl("export", "--hub", "me/tiny", "--private")
    assert status == 0
    assert out.endswith(": https://hub/me/tiny\n")
    assert prorl("export", "--hub", "me/tiny")[0] == 0
    assert pushed == [("prorl", "me/tiny", True), ("prorl", "me/tiny", None)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "DESTINATION, --hub: got neither, allowed: one of the two"),
        (["there", "--hub", "me/tiny"], "DESTINATION, --hub: got both, allowed: one of the two"),
        (["there", "--private"], "--private: got it without --hub, allowed: with it"),
        (["data"], "data: got what is there already, allowed: a new name"),
        (["there.tgz"], "there.tgz: got .tgz, allowed: .zip, .tar.gz, or a folder"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(checkout, prorl, arguments, words):
    before = names(checkout)
    status, out, err = prorl("export", *arguments)
    assert (status, out, err) == (1, "", f"prorl: {words}\n")
    assert names(checkout) == before


def test_data_sets_are_listed_with_what_there_is_of_each(tmp_path, monkeypatch, prorl):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    status, out, _ = prorl("datasets", "list", "--json")
    empty = dict.fromkeys(("users", "items", "interactions", "instances")) | {"released": []}
    assert (status, json.loads(out)) == (0, [{"name": "ml-100k", "source": "ml-100k"} | empty])
    reports = tmp_path / "reports/ml-100k"
    reports.mkdir(parents=True)
    (reports / "prepare.json").write_text('{"kept": {"users": 917, "items": 937, "interactions": 94443}}')
    (reports / "mine.json").write_text('{"instances": {"train": 10559, "validation": 1318, "test": 1044}}')
    bundle = tmp_path / "models/released/ml-100k/prorl"
    bundle.mkdir(parents=True)
    (bundle / "prorl.json").write_text("{}")
    status, out, _ = prorl("datasets", "list")
    assert status == 0
    assert out.splitlines()[-1].split() == ["ml-100k", "ml-100k", "917", "937", "94,443", "12,921", "prorl"]
