"""`prorl compare`: what changed beyond noise, prompt by prompt or by committed intervals."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest

from prorl.cli.changes import RESAMPLES, changes
from prorl.cli.sides import Side
from prorl.metrics.intervals import UserBootstrap

N = 60


def results(shift=0.0, noise=1.0, seed=0, targets=0, guides=("prorl",), judges=("SASRec",)):
    """Results per prompt, two a user: ioi is noise of the prompt plus `shift`, coherence has no judge."""
    common = np.random.default_rng(0).normal(size=N) * noise
    own = np.random.default_rng(seed).normal(size=N) * 0.01
    tables = [
        pd.DataFrame(
            {
                "policy": guide,
                "simulator": judge,
                "prompt": range(N),
                "user": np.arange(N) // 2 + 1,
                "history": [np.array([1, number % 3 + 1]) for number in range(N)],
                "target": np.arange(N) + targets,
                "path": [np.array([5])] * N,
                "ioi": common + own + shift,
                "coherence": 0.5,
                "rollout@5/ioi": common + 1,
                "rollout@5/ctr": np.nan,
            }
        )
        for guide in guides
        for judge in judges
    ]
    return pd.concat(tables, ignore_index=True)


def intervals(mean, reach=0.1):
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def report(ioi=1.0, coherence=0.5, guide="prorl"):
    judged = {"ioi": intervals(ioi), "coherence": intervals(coherence), "rollout@5": {"ioi": intervals(2.0)}}
    return {guide: {"SASRec": judged, "GRU4Rec": judged, "states": 3.0}}


def by_metric(found):
    return {row.metric: row for row in found.rows}


def test_results_of_the_same_prompts_are_paired():
    before, after = results(), results(shift=0.02, seed=1)
    found = changes(Side("a", {}, before), Side("b", {}, after))
    rows = by_metric(found)
    assert list(rows) == ["ioi", "coherence", "rollout@5/ioi"], "rollout@5/ctr is not there"
    ioi = rows["ioi"]
    expected = UserBootstrap.of_users(before.user.to_numpy(), RESAMPLES, 0).mean(
        (after.ioi - before.ioi).to_numpy()
    )
    assert (ioi.difference, ioi.low, ioi.high) == pytest.approx(tuple(expected.values()))
    assert (ioi.how, ioi.changed, ioi.better) == ("paired", True, True)
    assert not rows["coherence"].changed
    assert rows["coherence"].judge is None
    assert (found.unpaired, found.alone) == ({}, {})


def test_the_same_shift_is_lost_in_noise_where_results_cannot_be_paired():
    before, after = results(), results(shift=0.02, seed=1, targets=1)
    found = changes(Side("a", {}, before), Side("b", {}, after))
    assert found.unpaired == {"prorl": "it was judged on other prompts"}
    ioi = by_metric(found)["ioi"]
    assert (ioi.how, ioi.changed, ioi.low) == ("intervals", False, None)
    assert ioi.difference == pytest.approx(after.ioi.mean() - before.ioi.mean())
    worse = changes(Side("a", {}, before), Side("b", {}, results(shift=-5, targets=1)))
    assert (by_metric(worse)["ioi"].changed, by_metric(worse)["ioi"].better) == (True, False)


@pytest.mark.parametrize(("ioi", "changed"), [(1.19, False), (1.21, True)])
def test_committed_intervals_change_where_they_do_not_overlap(tmp_path, prorl, ioi, changed):
    for name, content in (("a", report()), ("b", report(ioi))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(content))
    status, out, _ = prorl("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json")
    assert status == 0
    found = json.loads(out)
    rows = {(row["metric"], row["judge"]): row for row in found["metrics"]}
    assert list(rows) == [
        *(("ioi", "SASRec"), ("coherence", None), ("rollout@5/ioi", "SASRec")),
        *(("ioi", "GRU4Rec"), ("rollout@5/ioi", "GRU4Rec")),
    ], "what no judge has a say in stands once"
    assert rows["ioi", "SASRec"]["changed"] == changed
    assert not rows["rollout@5/ioi", "GRU4Rec"]["changed"]
    assert found["unpaired"] == {"prorl": f"folder {tmp_path / 'a'} has no results per prompt at hand"}


def test_a_table_shows_what_changed_and_all_on_demand(tmp_path, prorl, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    results().to_parquet(tmp_path / "a.parquet")
    both = pd.concat([results(shift=0.5), results(guides=["random"])])
    both.to_parquet(tmp_path / "b.parquet")
    asked = ("compare", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))
    status, out, _ = prorl(*asked)
    assert status == 0
    (row,) = [line for line in out.splitlines() if line.startswith("prorl ")]
    assert "IoI, increment of interest" in row
    assert "+0.500" in row
    assert row.rstrip().endswith("better")
    assert "1 of 3 metrics changed beyond noise." in out
    assert f"Only in {tmp_path / 'b.parquet'}: random." in out
    status, out, _ = prorl(*asked, "--all", "--guide", "prorl", "--judge", "SASRec")
    assert len([line for line in out.splitlines() if line.startswith("prorl ")]) == 3


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of reports on two data sets, a third state in the workspace, and an experiment."""
    monkeypatch.chdir(tmp_path)

    def write(dataset, content):
        path = tmp_path / "reports" / dataset / "evaluation.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    write("own", report(1.0))
    git("add", "-A")
    git("commit", "-qm", "first")
    write("own", report(2.0))
    write("other", report(5.0))
    git("add", "-A")
    git("commit", "-qm", "second")
    git("update-ref", "refs/exps/ab/cd/quick-wolf", "HEAD~1")
    write("own", report(3.0))
    return git


def ioi_of(prorl, *arguments):
    status, out, err = prorl("compare", *arguments, "--json")
    assert (status, err) == (0, "")
    (row,) = [
        row for row in json.loads(out)["metrics"] if row["metric"] == "ioi" and row["judge"] == "SASRec"
    ]
    return row["a"], row["b"]


def test_revisions_experiments_and_the_workspace_are_compared(repository, prorl):
    assert ioi_of(prorl, "HEAD~1", "HEAD") == (1, 2)
    assert ioi_of(prorl, "HEAD", "workspace", "--dataset", "own") == (2, 3)
    assert ioi_of(prorl, "quick-wolf", "workspace") == (1, 3)
    assert ioi_of(prorl, "HEAD", ".", "--dataset", "other") == (5, 5)
    commit = repository("rev-parse", "HEAD")
    assert ioi_of(prorl, commit, "reports/own", "--dataset", "own") == (2, 3)


def test_what_is_wrong_is_one_line(repository, prorl):
    (_, _, clear), (_, _, none), (_, _, other), (_, _, guide) = (
        prorl("compare", "HEAD", "workspace"),
        prorl("compare", "HEAD", "nowhere"),
        prorl("compare", "HEAD~1", "workspace", "--dataset", "other"),
        prorl("compare", "HEAD~1", "HEAD", "--guide", "beam"),
    )
    assert clear == "prorl: --dataset: missing; data sets with results of both: other, own\n"
    assert none.startswith(
        "prorl: 'nowhere': got neither, allowed: a git revision, a DVC experiment, a folder"
    )
    assert "reports/other/evaluation.json: missing; data sets: ['own']" in other
    assert guide == "prorl: --guide: got 'beam', allowed: prorl, which both runs have\n"
    repository("update-ref", "refs/exps/ef/01/quick-wolf", "HEAD")
    assert "the name of 2 experiments" in prorl("compare", "quick-wolf", "workspace")[2]
