"""What is known before anything runs: settings of the commit, git's identity, and who else is at work."""

import fcntl
import subprocess

import pytest

from prorl.config.section import ConfigError
from prorl.experiments import running
from prorl.experiments.definition import read_experiment
from prorl.experiments.running import (
    base_params,
    check_settings,
    planned_run,
    require_identity,
    run_all,
)
from prorl.layout import Layout
from prorl.presets import fill_in_entries, round_trip_yaml
from prorl.worktrees import WorktreeError, head, remove_unlisted_guides
from tests.experiments.files import write
from tools.stage_dependencies import ROOT


def test_settings_are_those_of_the_commit_under_the_data_sets_preset(repository):
    commit = head(repository)
    (repository / "params.yaml").write_text("seed: 1\n", encoding="utf-8")
    (repository / "presets" / "ml-1m.yaml").unlink()
    default = round_trip_yaml().load(ROOT / "params.yaml")
    assert base_params(repository, commit, None) == base_params(repository, commit, "ml-100k") == default
    preset = base_params(repository, commit, "ml-1m")
    assert preset["datasets"] == ["ml-1m"]
    assert preset["finetune"]["ml-1m"]["steps"] > 0


def test_a_row_runs_with_its_own_data_set_alone(repository):
    """What it sets for all data sets need not agree with the settings of another."""
    params = round_trip_yaml().load(ROOT / "params.yaml")
    params["datasets"].append("own")
    fill_in_entries(params)
    params["finetune"]["own"]["steps"] = 120
    params["similarity"]["datasets"] = ["own", "ml-100k"]
    round_trip_yaml().dump(params, repository / "params.yaml")
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "Two"], cwd=repository, check=True)
    found = base_params(repository, head(repository), None)
    default = round_trip_yaml().load(ROOT / "params.yaml")
    assert found == default | {"similarity": default["similarity"] | {"datasets": ["ml-100k"]}}
    own = base_params(repository, head(repository), "own")
    assert (own["datasets"], own["similarity"]["datasets"]) == (["own"], ["own"])
    assert own["finetune"]["own"] == {"steps": 120}
    assert "ml-100k" not in own["finetune"]
    experiment = read_experiment(ROOT, "ablation").at_maturity()
    check_settings(experiment, planned_run(experiment, found, "ml-100k", "full", 1))


def test_what_ran_under_settings_of_another_time_can_still_be_named(repository):
    """A table of an older commit: its params.yaml may lack what the code now asks for."""
    params = round_trip_yaml().load(ROOT / "params.yaml")
    del params["evaluate"]["precision"]
    round_trip_yaml().dump(params, repository / "params.yaml")
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "Older"], cwd=repository, check=True)
    experiment = read_experiment(ROOT, "rewards")
    found = base_params(repository, head(repository), "ml-100k")
    run = planned_run(experiment, found, "ml-100k", "full", 1)
    assert run.params == params | {
        key: run.params[key]
        for key in (
            *("training_seed", "guides", "decoding", "reduce", "quantize"),
            *("policy", "pretrain", "finetune"),
        )
    }
    with pytest.raises(ConfigError, match=r"row full: evaluate\.precision: missing"):
        check_settings(experiment, run)


def test_the_seed_of_everything_leaves_the_training_seed_as_a_run_of_the_checkout_has_it():
    params, experiment = round_trip_yaml().load(ROOT / "params.yaml"), read_experiment(ROOT, "default")
    run = planned_run(experiment, params, "ml-100k", "prorl", params["seed"])
    params |= {"guides": ["search", "lookahead", "search_2", "beam"]}  # which its rows name
    assert (run.params, run.overrides[1:]) == (params, ["training_seed=null"])
    assert planned_run(experiment, params, "ml-100k", "prorl", 1).params == params | {"training_seed": 1}


def test_a_name_that_is_no_data_set_is_an_error(repository):
    with pytest.raises(ConfigError, match="no preset 'ml-10m'; there are: ml-1m, other"):
        base_params(repository, head(repository), "ml-10m")
    with pytest.raises(ConfigError, match="preset 'other' is one for ml-100k; a data set is needed"):
        base_params(repository, head(repository), "other")


def test_a_git_without_identity_is_an_error_that_says_what_to_set(repository, monkeypatch):
    require_identity(repository)
    for name in ("user.name", "user.email"):
        subprocess.run(["git", "config", "--unset", name], cwd=repository, check=True)
    subprocess.run(["git", "config", "user.useConfigOnly", "true"], cwd=repository, check=True)
    for who in ("AUTHOR", "COMMITTER"):
        for what in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{who}_{what}", raising=False)
    with pytest.raises(
        WorktreeError, match="git has no identity to commit experiments with; set one by `git config"
    ):
        require_identity(repository)


def test_two_runs_in_one_worktree_are_refused(repository):
    experiment = write(repository)
    (repository / ".experiments").mkdir()
    with open(repository / ".experiments" / "ml-100k.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WorktreeError, match=r"another run is at work in .*\.experiments/ml-100k"):
            run_all(repository, experiment, None, [1], queue=False)


def test_a_new_run_keeps_checksums_of_outside_files_and_nothing_else_of_an_interrupted_one(
    repository, monkeypatch
):
    monkeypatch.setattr(running, "share_cache", lambda root, worktree: None)
    worktree = repository / ".experiments" / "own"
    running._as_committed(repository, worktree, head(repository))
    kept = ("reports/own/inputs/mine.json", "reports/own/inputs/simulator/SASRec.json")
    for name in (*kept, "reports/own/mine.json", "own/inputs/mine.json"):
        (worktree / name).parent.mkdir(parents=True, exist_ok=True)
        (worktree / name).write_text("{}", encoding="utf-8")
    running._as_committed(repository, worktree, head(repository))
    left = {str(path.relative_to(worktree)) for path in worktree.rglob("*.json")}
    assert left == set(kept)


def test_a_run_evaluates_the_guides_that_its_rows_name_or_the_first_alone(repository):
    params = round_trip_yaml().load(ROOT / "params.yaml")
    rows = {
        "first": {"label": "First"},
        "same": {"label": "Same run, another guide", "policy": "beam"},
        "again": {"label": "And another", "policy": "search"},
        "alone": {"label": "Alone", "set": ["finetune.gamma=0.5"], "policy": "pretrained"},
        "own": {"label": "Own", "set": ["finetune.gamma=0.6", "guides=[search_2]"], "policy": "search_2"},
    }
    experiment = write(repository, rows=rows)
    for row, guides in {
        "first": ["beam", "search"],
        "again": ["beam", "search"],
        "alone": params["guides"][:1],
        "own": ["search_2"],
    }.items():
        assert planned_run(experiment, params, "ml-100k", row, 1).params["guides"] == guides, row
    assert experiment.run_of("again") == "first", "they still share a run"
    part = experiment.only(["first"])
    assert planned_run(part, params, "ml-100k", "first", 1).params["guides"] == ["beam", "search"]


def test_folders_of_guides_that_a_run_does_not_evaluate_are_removed_from_its_worktree(tmp_path):
    layout = Layout("own")
    for name in ("search", "beam", ".half.partial"):
        (tmp_path / layout.guide(name)).mkdir(parents=True)
    remove_unlisted_guides(tmp_path, layout, ["search", "other"])
    left = {path.name for path in (tmp_path / layout.guides).iterdir()}
    assert left == {"search", ".half.partial"}
