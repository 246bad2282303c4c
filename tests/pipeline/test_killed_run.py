"""Long stages killed at any moment and run again end with the same files as a run without a break."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from prorl.files import sha256_of
from prorl.presets import round_trip_yaml
from tests.pipeline.clones import DATASET, Clone
from tests.pipeline.test_pipeline import SIMULATORS, STAGES
from tests.pipeline.test_repeated_run import alone, written_since

MOMENTS = 5
KILLS = int(os.environ.get("PRORL_KILLS", "2"))  # of every stage, at moments that are the same at every run
N_BATCHES = 469  # of all texts, of which `embed` counts those that are left
LONG_STAGES = ("embed", "simulator-SASRec", "pretrain", "finetune")


@dataclass(frozen=True)
class Attempt:
    """One run of a stage: how it ended, when its first checkpoint was there and when it ended, in seconds,
    and where its steps began.
    """

    status: int
    checkpoint_after: float | None
    seconds: float
    first_step: str


def attempt(
    clone: Clone,
    command: list[str],
    label: str,
    kill_after: float | None = None,
    *,
    from_checkpoint: bool = False,
) -> Attempt:
    """Run `command` to its end, or until SIGKILL `kill_after` seconds after its start or, if so asked, its
    first checkpoint.
    """
    started, checkpoint_after = time.monotonic(), None
    log = clone.root / "log"
    with open(log, "wb") as stream:
        stage = subprocess.Popen(command, cwd=clone.root, env=clone.environment, stdout=stream, stderr=stream)
        while stage.poll() is None:
            now = time.monotonic() - started
            if checkpoint_after is None and checkpoints(clone):
                checkpoint_after = now
            since = checkpoint_after if from_checkpoint else 0.0
            if kill_after is not None and since is not None and now - since >= kill_after:
                stage.kill()
                stage.wait()
            time.sleep(0.005)
    printed = log.read_text(encoding="utf-8")
    assert stage.returncode in (0, -signal.SIGKILL), printed
    first = re.search(rf"^{label}: .*?([0-9]+/[0-9]+)", printed, re.MULTILINE)
    return Attempt(stage.returncode, checkpoint_after, time.monotonic() - started, first[1] if first else "")


def checkpoints(clone: Clone) -> list[Path]:
    """The finished files of the clone's checkpoints; those being written are hidden."""
    return [
        path
        for path in (clone.root / ".checkpoints").rglob("*")
        if path.is_file()
        and "-search-" not in path.name  # of what is searched for before the training
        and not any(part.startswith(".") for part in path.parts[len(clone.root.parts) + 1 :])
    ]


def hashes(files: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of each file."""
    return {name: sha256_of(path) for name, path in files.items()}


def but_curves(files: dict[str, Path]) -> dict[str, Path]:
    """`files` without curves, which grow row by row while a training runs, for people to look at."""
    return {path: file for path, file in files.items() if "/curves/" not in path}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_STAGES)
def test_a_stage_killed_at_any_moment_and_run_again_writes_the_same_files(unbroken, tmp_path, name):
    label = name.replace("-", " ")
    clone, command = alone(unbroken, name, tmp_path / "whole")
    given = set(clone.files("data", "models", "reports"))
    whole = attempt(clone, command, label)
    expected = hashes(written_since(clone, given))
    assert expected
    assert expected == {path: sha256_of(unbroken.root / path) for path in expected}

    seeded = random.Random(f"moments of {name}")
    work = whole.seconds - whole.checkpoint_after
    moments = [(seeded.uniform(0, whole.checkpoint_after), False)]
    moments += [((i + seeded.random()) / (MOMENTS - 1) * 0.95 * work, True) for i in range(MOMENTS - 1)]
    continued = []
    for moment, (kill_after, from_checkpoint) in enumerate(moments):
        killed = Attempt(0, None, 0, "")
        while (
            killed.status == 0
        ):  # one that ended before its moment, on a machine that has become faster, is no test
            clone, _ = alone(unbroken, name, tmp_path / f"moment {moment}")
            killed = attempt(clone, command, label, kill_after, from_checkpoint=from_checkpoint)
            kill_after *= 0.8
            if killed.status == 0:
                shutil.rmtree(clone.root)
        left = checkpoints(clone)
        again = attempt(clone, command, label)
        assert again.status == 0
        assert hashes(written_since(clone, given)) == expected, f"killed after {killed.seconds:.2f} s"
        assert checkpoints(clone) == []
        assert bool(left) == (again.first_step != whole.first_step), (
            "where there is a checkpoint, the run goes on from it"
        )
        continued.append(bool(left))
        times = f"{killed.seconds:.1f} of {whole.seconds:.1f} s"
        print(f"{name}: killed after {times}, went on from {again.first_step}")
    assert any(continued)


@pytest.mark.slow
def test_after_a_kill_of_dvc_and_its_stage_the_next_repro_goes_on(unbroken):
    outputs = [
        f"models/policies/{DATASET}/prorl",
        f"reports/{DATASET}/finetune.json",
        f"reports/{DATASET}/curves/finetune",
    ]

    def written():
        return {
            path: value
            for path, value in hashes(unbroken.files("models", "reports")).items()
            if path.startswith(tuple(outputs))
        }

    expected = written()
    command = ["dvc", "repro", "--force", "--single-item", f"finetune@{DATASET}"]
    group = subprocess.Popen(
        command,
        cwd=unbroken.root,
        env=unbroken.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not checkpoints(unbroken):
        assert group.poll() is None
        time.sleep(0.005)
    os.killpg(group.pid, signal.SIGKILL)
    group.wait()
    assert written() != expected
    again = unbroken.run(*command)
    first_step = re.search(r"^finetune: .*?([0-9]+)/[0-9]+", again.stderr, re.MULTILINE)
    assert int(first_step[1]) > 0, "it goes on from the checkpoint"
    assert written() == expected


ALL_STAGES = (
    *(name for name in STAGES if name not in ("inputs", "simulator", "validate", "guide")),
    *(f"{stage}-{name}" for stage in ("simulator", "validate") for name in SIMULATORS),
    "guide-search",
)


def unfinished(clone: Clone) -> list[Path]:
    """What writers have left hidden where outputs are."""
    return [
        path for folder in ("data", "models", "reports") for path in (clone.root / folder).rglob(".*.partial")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_STAGES)
def test_any_stage_killed_at_random_and_run_again_writes_the_same_files(
    pipeline, tmp_path, monkeypatch, name
):
    """`PRORL_KILLS` times, by SIGKILL and SIGTERM in turn; a process that ended before its moment counts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    clone, command = alone(pipeline.clone, name, tmp_path / "whole")
    given = set(clone.files("data", "models", "reports"))
    started = time.monotonic()
    clone.run(*command)
    seconds, expected = time.monotonic() - started, hashes(written_since(clone, given))
    assert expected
    seeded = random.Random(f"any moment of {name}")
    for kill in range(KILLS):
        clone, _ = alone(pipeline.clone, name, tmp_path / f"kill {kill}")
        with open(clone.root / "log", "wb") as log:
            stage = subprocess.Popen(command, cwd=clone.root, env=clone.environment, stdout=log, stderr=log)
            sign = (signal.SIGKILL, signal.SIGTERM)[kill % 2]
            try:
                stage.wait(seeded.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                stage.send_signal(sign)
            sent = time.monotonic()
            stage.wait(60)
        assert time.monotonic() - sent < 10
        printed = (clone.root / "log").read_text(encoding="utf-8")
        told = re.search(r"^.*: SIGTERM: .*", printed, re.MULTILINE)
        print(f"{name}: {sign.name}, status {stage.returncode}: {told and told[0]}")
        if stage.returncode == 128 + signal.SIGTERM:
            assert told, printed
        else:  # over, or before the stage has begun
            assert stage.returncode in (0, -sign), printed
        finished = hashes(but_curves(written_since(clone, given)))
        assert all(expected[path] == own for path, own in finished.items()), (
            "no partial file has a final name"
        )
        clone.run(*command)
        assert hashes(written_since(clone, given)) == expected
        assert unfinished(clone) == []
        assert checkpoints(clone) == []
        shutil.rmtree(clone.root)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_STAGES)
def test_a_stage_that_is_told_to_end_keeps_what_it_has_says_so_and_goes_on(unbroken, tmp_path, name):
    clone, command = alone(unbroken, name, tmp_path / "clone")
    given = set(clone.files("data", "models", "reports"))
    with open(clone.root / "log", "wb") as log:
        stage = subprocess.Popen(command, cwd=clone.root, env=clone.environment, stdout=log, stderr=log)
        while not checkpoints(clone):
            assert stage.poll() is None
            time.sleep(0.005)
        time.sleep(0.3)
        stage.terminate()
        sent = time.monotonic()
        assert stage.wait(60) == 128 + signal.SIGTERM
    seconds = time.monotonic() - sent
    assert seconds < 10
    printed = (clone.root / "log").read_text(encoding="utf-8")
    (told,) = (line for line in printed.splitlines() if "SIGTERM" in line)
    print(f"{name}: {seconds:.1f} s after SIGTERM: {told}")
    kept = checkpoints(clone)
    if name == "embed":
        assert told == "embed: SIGTERM: run again to go on"
    else:
        assert told.startswith(
            f"{name.replace('-', ' ')}: SIGTERM: checkpoint written; run again to go on from "
        )
        assert told.endswith(kept[0].name)
    assert kept
    again = attempt(clone, command, name.replace("-", " "))
    first, total = map(int, again.first_step.split("/"))
    assert total < N_BATCHES if name == "embed" else first > 0, "it went on"
    found = hashes(written_since(clone, given))
    assert found == {path: sha256_of(unbroken.root / path) for path in found}
    assert checkpoints(clone) == unfinished(clone) == []


@pytest.mark.slow
def test_a_checkpoint_serves_no_run_of_other_settings_and_waits_for_its_own(unbroken, tmp_path):
    clone, command = alone(unbroken, "finetune", tmp_path / "clone")
    given = set(clone.files("data", "models", "reports"))
    assert attempt(clone, command, "finetune", 1.0, from_checkpoint=True).status == -signal.SIGKILL
    kept = checkpoints(clone)
    own = round_trip_yaml().load(clone.root / "params.yaml")["finetune"]["gamma"]
    clone.set(finetune={"gamma": own / 2})
    other = attempt(clone, command, "finetune")
    assert other.first_step.startswith("0/")
    assert checkpoints(clone) == kept
    changed = hashes(written_since(clone, given))
    assert changed != {path: sha256_of(unbroken.root / path) for path in changed}
    clone.set(finetune={"gamma": own})
    assert not attempt(clone, command, "finetune").first_step.startswith("0/")
    assert hashes(written_since(clone, given)) == {path: sha256_of(unbroken.root / path) for path in changed}


@pytest.mark.slow
def test_a_second_run_in_the_same_clone_is_refused_while_the_first_goes_on(unbroken):
    command = ["dvc", "repro", "--force", "--single-item", f"finetune@{DATASET}"]
    expected = hashes(unbroken.files("models"))
    first = subprocess.Popen(
        command,
        cwd=unbroken.root,
        env=unbroken.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not checkpoints(unbroken):
        assert first.poll() is None
        time.sleep(0.005)
    second = unbroken.run(*command, check=False)
    assert first.poll() is None
    assert second.returncode != 0
    assert "is busy" in second.stderr or "Unable to acquire lock" in second.stderr
    assert first.wait() == 0
    assert hashes(unbroken.files("models")) == expected
