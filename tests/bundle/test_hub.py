"""Copies of a released policy, and the hub, of which nothing but the network is replaced."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from prorl import extras
from prorl.bundle.folder import FILES
from prorl.bundle.policy import load_policy
from prorl.config.section import ConfigError
from prorl.errors import DataError


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


EVERY = sorted([*FILES, "simulator/config.json", "simulator/model.safetensors"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in the place of the hub: what is uploaded lies in it, by repository and revision."""

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, revision, commit_message):
        for name in filter_repo_objects(files_of(folder_path), allow_patterns=allow_patterns):
            target = tmp_path / "hub" / repo_id / (revision or "main") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder_path / name, target)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/{commit_message}")

    def create_repo(self, repo_id, *, private, exist_ok):
        assert exist_ok
        made.append((repo_id, private, self.token))

    def snapshot_download(repo_id, *, revision, allow_patterns):
        folder = tmp_path / "hub" / repo_id / (revision or "main")
        if not folder.is_dir():
            raise LocalEntryNotFoundError("cannot be\nreached")
        assert sorted(filter_repo_objects(files_of(folder), allow_patterns=allow_patterns)) == EVERY
        return str(folder)

    made = []
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return made


def test_a_copy_is_the_same_policy_and_leaves_other_files_alone(policy, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    policy.save_pretrained(folder)
    assert files_of(folder) == sorted([*EVERY, "notes.txt"])
    copy = load_policy(str(folder), "cpu")
    assert copy.version == policy.version
    assert copy.guide(["r1"], "r20") == policy.guide(["r1"], "r20")
    copy.save_pretrained(folder)  # onto itself
    assert load_policy(folder, "cpu").version == policy.version


def test_it_goes_to_the_hub_and_comes_from_there_by_name(policy, hub):
    url = policy.push_to_hub("me/films", private=True, token="secret", commit_message="first")
    assert (url, hub) == ("https://hub/me/films/first", [("me/films", True, "secret")])
    assert load_policy("me/films", "cpu").guide(["r1"], "r20") == policy.guide(["r1"], "r20")
    policy.push_to_hub("me/films", revision="v2")
    assert load_policy("me/films", "cpu", revision="v2").version == policy.version


def test_what_is_neither_there_nor_on_the_hub(hub, tmp_path):
    with pytest.raises(
        DataError, match="me/none: no such folder, and not to be had from the hub: cannot be reached"
    ):
        load_policy("me/none")
    for name in (tmp_path / "none", "models/released/films/none", "./none", "none"):
        with pytest.raises(DataError, match="none: no such folder, and no name on the hub"):
            load_policy(name)


def test_a_revision_is_for_the_hub(released):
    with pytest.raises(ConfigError, match="revision: got 'v2', allowed: None for a folder"):
        load_policy(released, revision="v2")


def test_the_hub_needs_the_pipeline(policy, monkeypatch):
    monkeypatch.setattr(extras, "_is_there", lambda package: package != "huggingface_hub")
    for call in (lambda: policy.push_to_hub("me/films"), lambda: load_policy("me/films")):
        with pytest.raises(
            ConfigError, match=r'needs the extra "pipeline": pip install "prorl\[pipeline\]"$'
        ):
            call()
