"""The worktree that a preset or an experiment runs in."""

import subprocess

import pytest

from prorl.presets import PRESETS, round_trip_yaml
from prorl.worktrees import (
    WorktreeError,
    alone_in,
    bring_to,
    environment,
    head,
    refuse_uncommitted_changes,
    share_lock,
)
from tools.preset import KEPT


@pytest.fixture
def repository(tmp_path):
    """A function that runs git in a repository with one commit: settings, a script and results."""
    root = tmp_path / "repository"
    for name, text in {
        "params.yaml": "seed: 1\n",
        "stages/mine.py": "first\n",
        "stages/gone.py": "\n",
        "dvc.lock": "default\n",
        "reports/a/mine.json": "1\n",
        ".gitignore": "/.presets/\n/data/\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")

    def git(*arguments):
        own = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(
            ["git", *own, *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout

    git.root = root
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "First")
    return git


def test_uncommitted_changes_of_what_stages_read_are_refused_and_others_are_not(repository):
    root = repository.root
    refuse_uncommitted_changes(root)
    (root / "dvc.lock").write_text("after a run\n", encoding="utf-8")
    (root / "README.md").write_text("new\n", encoding="utf-8")
    (root / PRESETS).mkdir(exist_ok=True)
    (root / PRESETS / "new.yaml").write_text("datasets: [ml-1m]\n", encoding="utf-8")
    refuse_uncommitted_changes(root)
    with pytest.raises(WorktreeError, match=r"uncommitted changes in presets/new\.yaml; what runs"):
        refuse_uncommitted_changes(root, PRESETS)
    (root / "stages/mine.py").write_text("changed\n", encoding="utf-8")
    (root / "stages/new.py").write_text("new\n", encoding="utf-8")
    with pytest.raises(
        WorktreeError,
        match=r"uncommitted changes in stages/mine\.py, stages/new\.py; what runs is the last commit",
    ):
        refuse_uncommitted_changes(root)


def test_the_worktree_follows_the_commits_and_keeps_its_own_settings_and_results(repository):
    root = repository.root
    worktree = root / ".presets" / "a"
    bring_to(root, worktree, head(root), KEPT)
    assert (worktree / "stages/mine.py").read_text(encoding="utf-8") == "first\n"
    assert not any((worktree / name).exists() for name in ("params.yaml", "dvc.lock", "reports"))
    own = {"params.yaml": "seed: 2\n", "dvc.lock": "own\n", "reports/a/mine.json": "2\n", "data/b": "3\n"}
    for name, text in own.items():
        (worktree / name).parent.mkdir(parents=True, exist_ok=True)
        (worktree / name).write_text(text, encoding="utf-8")

    (root / "stages/mine.py").write_text("second\n", encoding="utf-8")
    (root / "stages/gone.py").unlink()
    (root / "params.yaml").write_text("seed: 3\n", encoding="utf-8")
    (root / "reports/a/mine.json").write_text("4\n", encoding="utf-8")
    repository("commit", "--quiet", "--all", "--message", "Second")
    bring_to(root, worktree, head(root), KEPT)
    assert (worktree / "stages/mine.py").read_text(encoding="utf-8") == "second\n"
    assert not (worktree / "stages/gone.py").exists()
    assert {name: (worktree / name).read_text(encoding="utf-8") for name in own} == own
    assert repository("-C", str(worktree), "rev-parse", "HEAD") == repository("rev-parse", "HEAD")
    assert repository("status", "--porcelain") == ""


def test_a_worktree_that_keeps_nothing_is_as_committed_whatever_was_in_it(repository):
    root = repository.root
    worktree = root / ".experiments" / "a"
    bring_to(root, worktree, head(root))
    (worktree / "params.yaml").write_text("seed: 2\n", encoding="utf-8")
    (worktree / "reports/a/mine.json").unlink()
    repository("-C", str(worktree), "add", "--all")
    repository("-C", str(worktree), "checkout", "--quiet", "-b", "own")
    bring_to(root, worktree, head(root))
    assert (worktree / "params.yaml").read_text(encoding="utf-8") == "seed: 1\n"
    assert repository("-C", str(worktree), "status", "--porcelain", "--branch") == "## HEAD (no branch)\n"


def test_a_worktree_that_was_deleted_is_made_again(repository):
    worktree = repository.root / ".presets" / "a"
    bring_to(repository.root, worktree, head(repository.root), KEPT)
    subprocess.run(["rm", "-r", str(worktree)], check=True)
    bring_to(repository.root, worktree, head(repository.root), KEPT)
    assert (worktree / "stages/mine.py").exists()


def stage(deps, outs, **params):
    return {
        "cmd": "python stages/a.py",
        "deps": [{"path": "data/a", "md5": deps}],
        "params": {"params.yaml": params},
        "outs": [{"path": "models/a", "md5": outs}],
    }


def test_a_worktree_goes_on_from_the_run_that_the_checkout_holds(tmp_path):
    """Of two runs of one stage that gave other bits, that of the checkout; what ran with other settings or
    inputs, and what the checkout has not, stays.
    """

    def write(folder, stages):
        round_trip_yaml().dump({"schema": "2.0", "stages": stages}, folder / "dvc.lock")

    checkout, worktree = tmp_path / "checkout", tmp_path / "worktree"
    checkout.mkdir()
    worktree.mkdir()
    share_lock(checkout, worktree)
    assert not (worktree / "dvc.lock").exists()

    write(checkout, {"both": stage("1", "2", seed=1), "settings": stage("1", "2"), "new": stage("1", "2")})
    share_lock(checkout, worktree)
    assert (worktree / "dvc.lock").read_bytes() == (checkout / "dvc.lock").read_bytes()

    own = {"both": stage("1", "9", seed=1), "settings": stage("1", "9", seed=2), "own": stage("1", "9")}
    write(worktree, own)
    share_lock(checkout, worktree)
    assert round_trip_yaml().load(worktree / "dvc.lock") == {
        "schema": "2.0",
        "stages": {**own, "both": stage("1", "2", seed=1), "new": stage("1", "2")},
    }


def test_one_run_at_a_time_works_in_a_worktree(tmp_path):
    worktree = tmp_path / ".presets" / "a"
    with alone_in(worktree), pytest.raises(WorktreeError, match=r"another run is at work in .*\.presets/a"):
        alone_in(worktree).__enter__()
    with alone_in(worktree):
        assert worktree.with_name("a.lock").exists()


@pytest.mark.parametrize(
    ("own", "after"), [(None, []), ("", []), ("/a:", ["/a"]), ("b:/a", ["{here}/b", "/a"])]
)
def test_a_worktrees_library_comes_before_the_users_modules(tmp_path, monkeypatch, own, after):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if own is not None:
        monkeypatch.setenv("PYTHONPATH", own)
    found = environment(tmp_path / "worktree")["PYTHONPATH"].split(":")
    assert found == [f"{tmp_path}/worktree", *(path.format(here=tmp_path) for path in after)]
