"""Rows at the paper's maturity: kept and committed one by one, shown as far as they have run."""

from dataclasses import dataclass, field

import pandas as pd
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from prorl.cli import main
from prorl.errors import DataError
from prorl.experiments import running
from prorl.experiments.comparison import compare
from prorl.experiments.long import Store, run_long
from prorl.experiments.results import Result
from prorl.experiments.running import base_params, planned_run
from prorl.files import read_json, write_json
from prorl.worktrees import WorktreeError, git, head
from tests.experiments.files import SMALL, write

FOLDER = "reports/experiments/ml-100k"
LONG = {
    "seeds": [1],
    "pretrain_passes": 3,
    "passes": 2,
    "set": ["finetune.centering_steps=1", "policy.acceptances=[0.75]"],
    "by_pass": {
        "length": {"label": "Length", "curve": "train/length", "published": {"second": {2: 7.5}}},
        "ratio": {"label": "Over first's", "curve": "train/length", "relative_to": "first"},
    },
}
ROWS = SMALL["rows"] | {"third": {"label": "Third", "set": ["finetune.gamma=0.7"]}}


@pytest.fixture
def experiment(repository):
    """A long experiment of three runs, committed in the repository."""
    experiment = write(repository, rows=ROWS, long=LONG).at_maturity()
    commit(repository, "Experiment")
    return experiment


def commit(repository, message):
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)


def log(repository):
    return git(repository, "log", "--format=%s").splitlines()


def a_result(folder, name, ior=1.0, lengths=(1, 2, 3, 4)):
    """What a run of 4 steps leaves: `ior` of every prompt of both policies, and path lengths by step."""
    curve = folder / name / "curves" / "train" / "length.tsv"
    curve.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{step}\t{length}\n" for step, length in enumerate(lengths, 1))
    curve.write_text(f"step\tlength\n{lines}", encoding="utf-8")
    prompts = pd.DataFrame({"prompt": range(4), "user": [1, 1, 2, 3], "target": 5, "ior": ior, "ctr": 0.5})
    parts = [
        prompts.assign(policy=policy, simulator="SASRec", unused=1.0, **{"rollout@3/ior": 9.0})
        for policy in ("prorl", "pretrained")
    ]
    return Result(name, pd.concat(parts), DirFileSystem(str(folder / name), LocalFileSystem()), "curves")


class Interrupted(Exception):
    """What a test ends a run with."""


@dataclass
class Started:
    """The runs that were started, in order, what each left and under which params; and which are to end
    before they leave anything.
    """

    names: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    params: dict[str, dict] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


@pytest.fixture
def started(repository, tmp_path, monkeypatch):
    """Runs that are started without DVC."""
    found = Started()

    def start(root, worktree, commit, run, targets, queue):
        found.names.append(run.name)
        if run.name in found.broken:
            raise Interrupted
        found.results[run.name] = a_result(tmp_path, run.name, ior=float(len(run.row)))
        found.params[run.name] = run.params

    def finished(root, commit, run):
        return f"experiment of {run.name}" if found.params.get(run.name) == run.params else None

    def read(root, name, ref, dataset):
        assert ref == f"experiment of {name}"
        return found.results[name]

    monkeypatch.setattr(running, "_start", start)
    monkeypatch.setattr(running, "_as_committed", lambda root, worktree, commit: None)
    monkeypatch.setattr(running, "finished", finished)
    monkeypatch.setattr(Result, "read", staticmethod(read))
    worktree = repository / ".experiments" / "ml-100k"
    worktree.mkdir(parents=True)
    (worktree / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    (repository / ".git" / "info" / "exclude").write_text("/.experiments/\n", encoding="utf-8")
    return found


def run_name(row):
    return f"ml-100k-own-long-{row}-seed-1"


def test_each_row_that_ends_is_committed_alone_with_the_page(repository, experiment, started, capsys):
    (repository / "params.md").write_text("a draft", encoding="utf-8")
    git(repository, "add", "params.md")
    before = head(repository)
    run_long(repository, experiment, [], None, [1])
    assert started.names == [run_name(row) for row in ("first", "second", "third")]
    assert log(repository)[:3] == [
        f"own at the paper's maturity, ml-100k: {label}, seed 1" for label in ("Third", "Second", "First")
    ]
    pages = {f"{FOLDER}/own-long.json", f"{FOLDER}/own-long.md"}
    for place, row in ((0, "third"), (1, "second"), (2, "first")):
        changed = git(repository, "show", "--name-only", "--format=", f"HEAD~{place}").splitlines()
        own = f"{FOLDER}/own-long/{row}-seed-1"
        assert set(changed) == pages | {
            f"{own}/run.json",
            f"{own}/per_prompt.parquet",
            f"{own}/curves/train/length.tsv",
        }
        about = read_json(repository / own / "run.json")
        assert (about["row"], about["seed"], about["commit"]) == (row, 1, before)
        assert about["overrides"][-1] == "training_seed=1"
    assert git(repository, "status", "--porcelain") == "A  params.md\n", "what else is staged stays so"
    assert "ended after 0 minutes, and kept" in capsys.readouterr().out

    run_long(repository, experiment, [], None, [1])
    assert len(started.names) == 3, "rows that are kept are not run again"
    assert capsys.readouterr().out.count("there already") == 3
    assert len(log(repository)) == 5


def test_a_run_that_was_ended_goes_on_with_the_row_it_was_in(repository, experiment, started, capsys):
    started.broken.add(run_name("second"))
    with pytest.raises(Interrupted):
        run_long(repository, experiment, [], None, [1])
    assert started.names == [run_name("first"), run_name("second")]
    page = (repository / FOLDER / "own-long.md").read_text(encoding="utf-8")
    assert "2 of 4 rows have run; not yet: Second, Third." in page
    assert "| Second | not run yet | - | - |" in page
    started.broken.clear()
    run_long(repository, experiment, [], None, [1])
    assert started.names[2:] == [run_name("second"), run_name("third")]
    assert "4 of 4 rows have run.\n" in (repository / FOLDER / "own-long.md").read_text(encoding="utf-8")


def test_a_row_whose_commit_git_refused_is_committed_by_the_next_command(
    repository, experiment, started, capsys
):
    hook = repository / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(WorktreeError, match="git commit"):
        run_long(repository, experiment, ["first"], None, [1])
    assert "ml-100k-own-long-first-seed-1: not committed yet: git commit" in capsys.readouterr().out
    assert log(repository)[0] == "Experiment"
    (repository / FOLDER / "own-long.md").unlink()
    hook.unlink()
    run_long(repository, experiment, ["first"], None, [1])
    assert started.names == [run_name("first")]
    assert log(repository)[0] == "own at the paper's maturity, ml-100k: First, seed 1"
    assert git(repository, "status", "--porcelain") == ""


def test_a_run_that_ended_is_kept_without_running_again(repository, experiment, started, tmp_path):
    name = run_name("third")
    params = base_params(repository, head(repository), None)
    started.results[name] = a_result(tmp_path, name)
    started.params[name] = planned_run(experiment, params, "ml-100k", "third", 1).params
    run_long(repository, experiment, ["third"], None, [1])
    assert started.names == []
    assert log(repository)[0] == "own at the paper's maturity, ml-100k: Third, seed 1"


def test_a_row_with_other_overrides_than_it_ran_with_is_run_again(repository, experiment, started):
    run_long(repository, experiment, ["second"], None, [1])
    rows = ROWS | {"second": {"label": "Second", "set": ["finetune.gamma=0.6"]}}
    changed = write(repository, rows=rows, long=LONG).at_maturity()
    store = Store(repository, changed, "ml-100k")
    params = base_params(repository, head(repository), None)
    assert store.results(params, [1]) == {}
    commit(repository, "Changed")
    run_long(repository, changed, ["second"], None, [1])
    assert started.names == [run_name("second")] * 2
    assert list(store.results(params, [1])) == ["second"]
    assert store.results(params, [1, 2]) == {}, "a row is there once all its seeds are"


@pytest.mark.parametrize(
    ("changes", "missing"),
    [({"metrics": ["ior", "ctr", "ioi"]}, "ioi, rollout@3/ioi"), ({}, "train/kl")],
    ids=["a metric", "a curve"],
)
def test_a_row_that_was_kept_without_what_is_asked_for_is_an_error_that_names_both(
    repository, experiment, started, monkeypatch, capsys, changes, missing
):
    run_long(repository, experiment, ["first"], None, [1])
    by_pass = LONG["by_pass"] if changes else LONG["by_pass"] | {"kl": {"label": "KL", "curve": "train/kl"}}
    write(repository, rows=ROWS, long=LONG | {"by_pass": by_pass}, **changes)
    commit(repository, "Changed")
    monkeypatch.chdir(repository)
    for command in ("run", "table"):
        assert main(["experiments", command, "own", "--long"]) == 1
        told = f"{FOLDER}/own-long/first-seed-1: kept without {missing}, which experiments/own.yaml asks for"
        assert told in capsys.readouterr().err
    assert started.names == [run_name("first")]


def test_a_row_that_does_not_say_what_it_was_kept_with_is_one_that_lacks_it(repository, experiment, started):
    run_long(repository, experiment, ["first"], None, [1])
    file = repository / FOLDER / "own-long" / "first-seed-1" / "run.json"
    about = read_json(file)
    del about["asked"]
    write_json(file, about)
    with pytest.raises(DataError, match=r"own-long/first-seed-1: kept without ior, ctr, rollout@3/ior"):
        Store(repository, experiment, "ml-100k").results(base_params(repository, head(repository), None), [1])


@pytest.fixture
def kept(repository, experiment, started):
    """The store after two of the three runs."""
    run_long(repository, experiment, ["first", "second"], None, [1])
    return Store(repository, experiment, "ml-100k")


def test_what_is_kept_is_what_the_rows_show(repository, kept):
    table = pd.read_parquet(repository / kept.folder / "first-seed-1" / "per_prompt.parquet")
    assert set(table.policy) == {"prorl", "pretrained"}, "of the row itself, and of one that shares its run"
    assert list(table.columns) == [
        *("policy", "simulator", "prompt", "user", "target", "ior", "ctr", "rollout@3/ior")
    ]
    table = pd.read_parquet(repository / kept.folder / "second-seed-1" / "per_prompt.parquet")
    assert set(table.policy) == {"prorl"}
    assert "rollout@3/ior" not in table
    results = kept.results(base_params(repository, head(repository), None), [1])
    assert list(results) == ["first", "second", "sampled"]
    assert results["second"][1].of("prorl", "SASRec").ior.tolist() == [6.0] * 4


def test_rows_that_have_run_are_compared_and_shown_pass_by_pass(repository, kept):
    params = base_params(repository, head(repository), None)
    rows = compare(kept.experiment, kept.results(params, [1])).rows
    assert list(rows) == ["first", "second", "sampled"]
    assert rows["first"]["by_pass"] == {"length": [1.5, 3.5], "ratio": [1.0, pytest.approx(3.5 / 1.5)]}
    assert rows["sampled"]["by_pass"] == {}
    assert rows["second"]["differences"]["SASRec"]["ior"]["mean"] == 1.0
    page = (repository / FOLDER / "own-long.md").read_text(encoding="utf-8")
    assert "# A title, at the paper's maturity: ml-100k" in page
    assert "Pre-trained for 3 passes over mined paths, once for each seed, and fine-tuned for 2 " in page
    assert "| Second | 1.50 | 3.50 |\n| Second, published |  | 7.50 |\n| Third | not run yet | - |" in page
    assert "    prorl experiments run own --long --dataset ml-100k --seeds 1\n" in page
    ran_on = git(repository, "log", "--format=%H", "--grep=Experiment").strip()
    assert f"| Second | `{ran_on[:10]}` |" in page


def test_without_the_row_that_others_are_compared_with_the_rest_is_shown(repository, experiment, started):
    run_long(repository, experiment, ["third"], None, [1])
    store = Store(repository, experiment, "ml-100k")
    found = compare(experiment, store.results(base_params(repository, head(repository), None), [1]))
    assert list(found.rows) == ["third"]
    assert found.rows["third"]["differences"] == {}
    assert found.rows["third"]["by_pass"] == {"length": [1.5, 3.5]}, "a ratio needs the other row"


def test_short_runs_stand_beside_the_long_ones(repository, kept):
    value = {"mean": 4.25, "low": 4, "high": 5}
    short = {"first": {"metrics": {"SASRec": {"ior": value}}}, "third": {"metrics": {}}}
    write_json(repository / FOLDER / "own.json", {"rows": short})
    (repository / FOLDER / "own.md").write_text("the short runs\n", encoding="utf-8")
    kept.write_page()
    page = (repository / FOLDER / "own-long.md").read_text(encoding="utf-8")
    assert "\n\nThe short runs: [own](own.md).\n\n" in page
    assert "## Beside the short runs\n" in page
    assert "| SASRec | IoR | short run | published | CTR | short run |" in page
    assert "| First | 5.0 | 4.2 | 7.0 | 0.500 | - |" in page
    assert "| Third | not run yet | - | - | not run yet | - |" in page


def test_steps_that_make_no_such_passes_are_an_error_that_names_the_run(tmp_path):
    result = a_result(tmp_path, "short")
    assert result.by_pass("train/length", 4) == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"short: .*length\.tsv: 4 steps make no 5 passes"):
        result.by_pass("train/length", 5)
    with pytest.raises(DataError, match=r"short: curves/train/kl\.tsv: no such curve"):
        result.by_pass("train/kl", 2)


def test_the_table_of_long_rows_is_printed_and_written(repository, kept, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    (repository / FOLDER / "own-long.md").unlink()
    assert main(["experiments", "table", "own", "--long"]) == 0
    printed = capsys.readouterr().out
    assert "| Third | not run yet | - | - |" in printed
    assert (repository / FOLDER / "own-long.md").read_text(encoding="utf-8") == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "own", "--long", "--commit", "HEAD"], "--commit: got --long too"),
        (["run", "own", "--long", "--queue"], "--queue: got --long too"),
        (
            ["table", "own", "--long"],
            "no row has run; `prorl experiments run own --long` runs",
        ),
        (["run", "other", "--long"], "experiments/other.yaml: no `long:` part, which --long runs"),
    ],
)
def test_what_cannot_be_is_one_line(repository, experiment, monkeypatch, capsys, arguments, message):
    write(repository, "other")
    monkeypatch.chdir(repository)
    assert main(["experiments", *arguments]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
