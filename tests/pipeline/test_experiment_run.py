"""`prorl experiments run` runs rows as DVC experiments in a worktree of its own; the checkout stays as it is,
what has run is skipped.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.experiments.files import write
from tests.pipeline.clones import ALWAYS, Clone, clone_of_working_tree, stages_run

ROWS = {
    "first": {"label": "First", "published": {"ior": 7}},
    "second": {"label": "Second", "set": ["mine.min_run=3"]},
    "sampled": {"label": "Sampled", "policy": "pretrained", "decoding": "rollout@3"},
}
# What a row runs where nothing of its seed has run, which the fitting of guides follows too.
FIRST_ROW = ["pretrain@ml-100k", "finetune@ml-100k", "guide@ml-100k-search", "evaluate@ml-100k"]


def prorl(clone, *arguments, check=True):
    """`prorl` at the clone's root."""
    return clone.run("python", "-m", "prorl.cli", "experiments", *arguments, check=check)


def ran(done):
    """The stages that a command ran, without the one that always does."""
    return [name for name in stages_run(done.stdout) if name != ALWAYS]


def contents(clone):
    """The bytes of every file of the checkout that git does not ignore."""
    names = clone.run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    return {name: (clone.root / name).read_bytes() for name in names}


@pytest.fixture
def checkout(tmp_path) -> Clone:
    """A clone in which nothing has run, with an experiment of the first stages that is not committed."""
    clone = clone_of_working_tree(tmp_path / "checkout")
    write(clone.root, targets=["mine"], common=[], seeds=[1], rows=ROWS)
    return clone


def test_rows_run_in_the_worktree_share_stages_and_are_skipped_once_there(checkout):
    before = contents(checkout)
    first = prorl(checkout, "run", "own")
    assert ran(first) == ["fetch@ml-100k", "prepare@ml-100k", "mine@ml-100k", "mine@ml-100k"]
    assert "[2/2] ml-100k-own-second-seed-1: mine.min_run=3 guides=[search] training_seed=1" in first.stdout
    assert contents(checkout) == before
    assert checkout.run("git", "status", "--porcelain").stdout == "?? experiments/own.yaml\n"
    assert {"ml-100k-own-first-seed-1", "ml-100k-own-second-seed-1"} == set(
        checkout.dvc("exp", "list", "--name-only").split()
    )

    again = prorl(checkout, "run", "own")
    assert ran(again) == []
    assert (
        again.stdout
        == "[1/2] ml-100k-own-first-seed-1: there already\n[2/2] ml-100k-own-second-seed-1: there already\n"
    )

    write(
        checkout.root,
        targets=["mine"],
        common=[],
        seeds=[1],
        rows=ROWS | {"second": {"label": "Second", "set": ["mine.min_run=4"]}},
    )
    changed = prorl(checkout, "run", "own")
    assert ran(changed) == ["mine@ml-100k"], "the row's settings are others"
    assert "[1/2] ml-100k-own-first-seed-1: there already" in changed.stdout

    with open(checkout.root / "stages/mine.py", "a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    refused = prorl(checkout, "run", "own", check=False)
    assert refused.returncode == 1
    assert (
        refused.stderr
        == "prorl: uncommitted changes in stages/mine.py; what runs is the last commit: commit them first\n"
    )


def test_what_is_wrong_or_missing_is_one_line_and_runs_nothing(checkout):
    unknown = prorl(checkout, "run", "own", "--only", "third", check=False)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "prorl: experiment 'own' has no row 'third'; there are: first, second, sampled\n"
    dataset = prorl(checkout, "run", "own", "--dataset", "ml-10m", check=False)
    assert (dataset.returncode, dataset.stdout) == (1, "")
    assert dataset.stderr.startswith("prorl: no preset 'ml-10m'; there are: ")
    table = prorl(checkout, "table", "own", check=False)
    assert table.returncode == 1
    assert table.stderr.startswith("prorl: ml-100k-own-first-seed-1 has not run on commit ")
    assert not (checkout.root / ".experiments").exists()


@pytest.mark.slow
def test_an_interrupted_run_leaves_the_checkout_as_it_is_and_goes_on(checkout):
    before = contents(checkout)
    command = [sys.executable, "-m", "prorl.cli", "experiments", "run", "own"]
    options = {"cwd": checkout.root, "env": checkout.environment, "text": True, "start_new_session": True}
    options |= {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    }  # it is ignored in what a shell runs in the background
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as run:
        next(line for line in run.stdout if line.startswith("Running stage 'prepare@ml-100k'"))
        os.killpg(run.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
        run.stdout.read()
        assert run.wait() == 130
        assert run.stderr.read().endswith("prorl: interrupted; the same command goes on from here\n")
    assert contents(checkout) == before
    assert ran(prorl(checkout, "run", "own"))[-3:] == ["prepare@ml-100k", "mine@ml-100k", "mine@ml-100k"]
    assert len(checkout.dvc("exp", "list", "--name-only").split()) == 2


@pytest.mark.slow
def test_a_table_of_two_rows_and_two_seeds_holds_what_evaluation_says(pipeline, untouched):
    untouched.dvc("pull")
    rows = ROWS | {"second": {"label": "Second", "set": ["finetune.gamma=0.5"]}}
    training = {
        "length": {"label": "Length", "curve": "train/length", "after": 0, "until": 1, "relative_to": "first"}
    }
    write(untouched.root, common=["finetune.steps=2"], rows=rows, training=training)
    done = prorl(untouched, "run", "own")
    assert ran(done) == [*FIRST_ROW, "finetune@ml-100k", "evaluate@ml-100k"] * 2, (
        "a seed's pre-training and guide serve both rows, and everything before them comes from the cache"
    )
    assert "there already" in prorl(untouched, "run", "own").stdout

    page = prorl(untouched, "table", "own").stdout
    assert page == (untouched.root / "reports/experiments/ml-100k/own.md").read_text(encoding="utf-8")
    found = untouched.read("reports/experiments/ml-100k/own.json")["rows"]
    commit = untouched.run("git", "rev-parse", "HEAD").stdout.strip()
    for row, policy, protocol in (
        ("first", "prorl", ""),
        ("second", "prorl", ""),
        ("sampled", "pretrained", "rollout@3"),
    ):
        run = "first" if row == "sampled" else row
        for place, seed in enumerate((1, 2)):
            ref = f"refs/exps/{commit[:2]}/{commit[2:]}/ml-100k-own-{run}-seed-{seed}"
            evaluation = untouched.of_commit(ref, "reports/ml-100k/evaluation.json")[policy]
            for simulator, judged in evaluation.items():
                expected = (judged[protocol] if protocol else judged)["ior"]["mean"]
                assert found[row]["metrics"][simulator]["ior"]["seeds"][place] == pytest.approx(expected)
    seeds = found["first"]["metrics"]["SASRec"]["ior"]["seeds"]
    assert seeds[0] != seeds[1]
    means = {row: found[row]["metrics"]["SASRec"]["ior"]["mean"] for row in ("first", "second")}
    assert found["second"]["differences"]["SASRec"]["ior"]["mean"] == pytest.approx(
        means["second"] - means["first"]
    )
    assert found["first"]["training"]["length"] == 1.0


@pytest.mark.slow
def test_long_rows_are_committed_as_they_end_and_a_killed_run_goes_on(pipeline, untouched):
    """Killed by SIGKILL, with everything it has started, in the second row's fine-tuning."""
    untouched.dvc("pull")
    rows = {"first": {"label": "First"}, "second": {"label": "Second", "set": ["finetune.gamma=0.5"]}}
    settings = ["pretrain.batch_size=512", "finetune.prompts_per_step=2048", "finetune.evaluate_every=1"]
    by_pass = {"length": {"label": "Length", "curve": "train/length"}}
    long = {"seeds": [1], "pretrain_passes": 1, "passes": 2, "set": settings, "by_pass": by_pass}
    write(untouched.root, common=[], rows=rows, long=long)
    checkpoints = untouched.root / ".experiments" / "ml-100k" / ".checkpoints"
    command = [sys.executable, "-m", "prorl.cli", "experiments", "run", "own", "--long"]
    options = {"cwd": untouched.root, "env": untouched.environment, "text": True, "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options) as run:
        printed = []
        for line in run.stdout:
            printed.append(line)
            if stages_run("".join(printed)).count("finetune@ml-100k") == 2:
                break
        while not list(checkpoints.glob("finetune-*.safetensors")):
            assert run.poll() is None
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
    (unfinished,) = checkpoints.glob("finetune-*.safetensors")
    stages = [stage for stage in stages_run("".join(printed)) if stage != ALWAYS]
    assert stages == [*FIRST_ROW, "finetune@ml-100k"], "pre-training and guide serve both rows"
    message = "own at the paper's maturity, ml-100k: {}, seed 1"
    log = untouched.run("git", "log", "--format=%s", "-2").stdout.splitlines()
    assert log[0] == message.format("First")
    page = untouched.root / "reports/experiments/ml-100k/own-long.md"
    assert "1 of 2 rows have run; not yet: Second." in page.read_text(encoding="utf-8")

    done = prorl(untouched, "run", "own", "--long")
    assert ran(done) == ["finetune@ml-100k", "evaluate@ml-100k"]
    assert "[1/2] ml-100k-own-long-first-seed-1: there already" in done.stdout
    assert not unfinished.exists(), "it went on from there"
    log = untouched.run("git", "log", "--format=%s", "-2").stdout.splitlines()
    assert log == [message.format("Second"), message.format("First")]
    assert untouched.run("git", "status", "--porcelain").stdout == "?? experiments/own.yaml\n"
    assert "2 of 2 rows have run.\n" in page.read_text(encoding="utf-8")
    found = untouched.read("reports/experiments/ml-100k/own-long.json")["rows"]
    assert all(len(row["by_pass"]["length"]) == 2 for row in found.values())
    assert ran(prorl(untouched, "run", "own", "--long")) == []
