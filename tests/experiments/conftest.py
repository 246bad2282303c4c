"""A git repository of its own for a test."""

import subprocess

import pytest

from prorl.presets import round_trip_yaml
from tools.stage_dependencies import ROOT


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the project's settings and two presets as its one commit."""
    for name, value in {
        "HOME": tmp_path,
        "GIT_CONFIG_GLOBAL": tmp_path / "none",
        "GIT_CONFIG_NOSYSTEM": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    root = tmp_path / "repository"
    for name in ("params.yaml", "presets/ml-1m.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    round_trip_yaml().dump({"datasets": ["ml-100k"]}, root / "presets" / "other.yaml")
    for command in (
        ["init", "--quiet"],
        ["config", "user.name", "a"],
        ["config", "user.email", "a@b.c"],
        ["add", "--all"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "First"], cwd=root, check=True)
    return root
