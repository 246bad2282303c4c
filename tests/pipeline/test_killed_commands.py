"""Long commands killed with all they have started: run again, they go on to what an unbroken run writes."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prorl.files import sha256_of
from prorl.presets import round_trip_yaml
from tests.experiments.files import write
from tests.pipeline.clones import ALWAYS, DATASET, Clone, stages_run
from tests.pipeline.test_killed_run import hashes, unfinished

EXPORTS = 3  # kills of each kind of export
KILLS = 3  # of each other command


def killed(clone: Clone, command: list[str], is_due) -> str:
    """Kill `command` and everything it has started by SIGKILL once `is_due(printed)`; what it had printed."""
    log = clone.root / "killed.log"
    with open(log, "wb") as stream:
        run = subprocess.Popen(
            command,
            cwd=clone.root,
            env=clone.environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        while not is_due(log.read_text(encoding="utf-8", errors="replace")):
            assert run.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    printed = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    return printed


def in_stage(name: str, seconds: float):
    """Due so many seconds after the last stage `name` has begun."""
    begun = []

    def is_due(printed):
        if not begun and f"Running stage '{name}'" in printed:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] >= seconds

    return is_due


def after_checkpoint(clone: Clone, stage: str, seconds: float):
    """Due so many seconds after `stage` has written a checkpoint in `clone`."""
    started, seen = time.time(), []

    def is_due(_):
        found = (clone.root / ".checkpoints").glob(f"{stage}-{DATASET}-????????????????.safetensors")
        if not seen and any(path.stat().st_mtime > started for path in found):
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] >= seconds

    return is_due


@pytest.mark.slow
def test_a_preset_killed_in_its_stages_goes_on_and_ends_as_if_unbroken(pipeline, untouched, monkeypatch):
    """As `make benchmark` runs its own: with the cache of the checkout."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    untouched.dvc("pull")
    settings = {
        "datasets": [DATASET],
        "pretrain": {"max_steps": 60, "evaluate_every": 6, "patience": 20},
        "finetune": {"steps": 150, "centering_steps": 10, "evaluate_every": 5},
    }
    round_trip_yaml().dump(settings, untouched.root / "presets" / "own.yaml")
    command = [sys.executable, "tools/preset.py", "--shared", "own", f"finetune@{DATASET}"]
    seeded, last = random.Random("moments of a preset"), f"finetune@{DATASET}"
    worktree = Clone(untouched.root / ".presets" / "own")
    for kill in range(KILLS):
        stage = ("pretrain", "finetune", "finetune")[kill]
        killed(untouched, command, after_checkpoint(worktree, stage, seeded.uniform(0, 1)))
        if kill:  # the stage before had ended, and was not run again
            assert (worktree.root / f"models/policies/{DATASET}/pretrained").is_dir()
    assert stages_run(untouched.run(*command).stdout)[-1] == last
    stages_again = stages_run(untouched.run(*command).stdout)
    assert [stage for stage in stages_again if stage != ALWAYS] == []
    expected = hashes(worktree.files("models/policies", f"reports/{DATASET}/curves"))
    assert unfinished(worktree) == []
    assert list((worktree.root / ".checkpoints").glob("*.safetensors")) == []
    for stage in (f"pretrain@{DATASET}", last):
        worktree.run("dvc", "repro", "--force", "--single-item", stage)
    assert hashes(worktree.files("models/policies", f"reports/{DATASET}/curves")) == expected
    assert untouched.run("git", "status", "--porcelain").stdout == "?? presets/own.yaml\n"


@pytest.mark.slow
def test_experiments_killed_between_and_in_their_rows_go_on(untouched):
    rows = {
        "first": {"label": "First"},
        "second": {"label": "Second", "set": ["mine.min_run=3"]},
        "third": {"label": "Third", "set": ["mine.min_run=4"]},
    }
    write(untouched.root, targets=["mine"], common=[], seeds=[1], rows=rows)
    command = [sys.executable, "-m", "prorl.cli", "experiments", "run", "own"]
    seeded = random.Random("moments of experiments")
    for kill in range(KILLS):
        stage = ("prepare", "mine", "mine")[kill]
        killed(untouched, command, in_stage(f"{stage}@{DATASET}", seeded.uniform(0, 2)))
        assert untouched.run("git", "status", "--porcelain").stdout == "?? experiments/own.yaml\n"
    untouched.run(*command)
    names = untouched.dvc("exp", "list", "--name-only").split()
    assert sorted(names) == [f"{DATASET}-own-{row}-seed-1" for row in sorted(rows)]
    again = untouched.run(*command).stdout
    assert again.count("there already") == len(rows)
    worktree = untouched.root / ".experiments" / DATASET
    assert unfinished(Clone(worktree)) == []
    commit = untouched.run("git", "rev-parse", "HEAD").stdout.strip()
    refs = [f"refs/exps/{commit[:2]}/{commit[2:]}/{name}" for name in sorted(names)]
    mined = [untouched.of_commit(ref, f"reports/{DATASET}/mine.json") for ref in refs]
    for found, other in itertools.pairwise(mined):
        assert found != other, "each row has results of its own"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["there", "there.zip", "there.tar.gz"])
def test_an_export_killed_while_it_writes_leaves_the_whole_or_nothing(pipeline, tmp_path, name):
    source = pipeline.clone.root / f"models/released/{DATASET}/prorl"
    whole = {path.relative_to(source): sha256_of(path) for path in source.rglob("*") if path.is_file()}
    destination, place = tmp_path / name, tmp_path / f".{name}.unfinished"
    command = [sys.executable, "-m", "prorl.cli", "export", str(destination)]
    seeded = random.Random(f"moments of exports to {name}")
    for _ in range(EXPORTS):
        after = seeded.uniform(0, 0.05)

        def is_due(_, after=after):
            if destination.exists():
                return True
            if place.exists():
                time.sleep(after)
                return True
            return False

        killed(pipeline.clone, command, is_due)
        if not destination.exists():
            pipeline.clone.run(*command)
        assert exported(destination, tmp_path / "unpacked") == whole
        remove(destination)
    pipeline.clone.run(*command)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def exported(destination: Path, unpacked: Path) -> dict[Path, str]:
    """The files of an exported policy, by their paths in it."""
    folder = destination
    if destination.is_file():
        shutil.unpack_archive(destination, unpacked)
        folder = unpacked / "there"
    found = {path.relative_to(folder): sha256_of(path) for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(unpacked, ignore_errors=True)
    return found


def remove(destination: Path) -> None:
    if destination.is_dir():
        shutil.rmtree(destination)
    else:
        destination.unlink()
