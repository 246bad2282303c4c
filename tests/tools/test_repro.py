"""A run with what remains of it told: DVC is a script here that says what DVC says."""

import os
import signal
import subprocess
import sys
import time

import pytest

from prorl.files import read_json, write_json
from tools.expected import Expected
from tools.repro import with_remaining
from tools.stage_dependencies import ROOT

PLAN = Expected({"read@own": 60.0, "train@own": 600.0, "judge@own": None, "show@own": 30.0})


def test_each_stage_that_starts_is_followed_by_what_remains():
    lines = [
        "Running stage 'check@own':\n",
        "> python check.py\n",
        "Stage 'read@own' is cached - skipping run, checking out outputs\n",
        "Running stage 'train@own':\n",
        "Running stage 'judge@own':\n",
        "Running stage 'show@own':\n",
    ]
    assert list(with_remaining(lines, PLAN)) == [
        *lines[:4],
        "expected: 10 min for this stage, about 10 min in all and what is not on record\n",
        *lines[4:],
        "expected: 30 s for this stage, about 30 s in all\n",
    ]
    assert list(with_remaining(lines, None)) == lines


@pytest.fixture
def start(tmp_path):
    """Starts a run in a folder where `dvc` is a Python script."""
    (tmp_path / "bin").mkdir()

    def start(script):
        dvc = tmp_path / "bin/dvc"
        dvc.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
        dvc.chmod(0o755)
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        return subprocess.Popen(
            [sys.executable, "-m", "tools.repro"],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def pipeline(root):
    """One stage that has never run here, with a time on record."""
    (root / "dvc.yaml").write_text(
        "stages:\n  train:\n    matrix: {dataset: '${datasets}'}\n    cmd: x\n    deps: []\n",
        encoding="utf-8",
    )
    (root / "params.yaml").write_text("datasets: [own]\n", encoding="utf-8")
    (root / "reports/own").mkdir(parents=True)
    write_json(root / "reports/own/runtime.json", {"train@own": {"seconds": 40.0}})


def test_a_run_is_told_beforehand_and_its_speed_is_kept(start, tmp_path):
    pipeline(tmp_path)
    script = (
        "import pathlib, sys\nassert sys.argv[1:] == ['repro']\nprint(\"Running stage 'train@own':\")\n"
        "pathlib.Path('reports/own/runtime.json').write_text('{\"train@own\": {\"seconds\": 50.0}}')\n"
        "sys.exit(3)\n"
    )
    run = start(script)
    assert run.communicate(timeout=60)[0].splitlines() == [
        "expected: about 40 s: train 40 s",
        "expected: by the last run on record, on some CPUs; "
        f"one of the {os.cpu_count()} here is taken to be as fast",
        "Running stage 'train@own':",
        "expected: 40 s for this stage, about 40 s in all",
    ]
    assert run.returncode == 3
    own = read_json(tmp_path / "reports/own/runtime.json")["train@own"]
    assert own.keys() == {"seconds", "round_seconds"}
    assert own["round_seconds"] > 0


@pytest.mark.parametrize("params", ["datasets: [own", "seed: 1\n", None])
def test_whatever_is_wrong_the_run_starts(start, tmp_path, params):
    pipeline(tmp_path)
    if params is None:
        (tmp_path / "params.yaml").unlink()
    else:
        (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    run = start("print('at work')\n")
    first, *_, last = run.communicate(timeout=60)[0].splitlines()
    assert first.startswith("expected: not known: ")
    assert (last, run.returncode) == ("at work", 0)


def test_sigterm_reaches_dvc_whose_end_is_waited_for(start, tmp_path):
    pipeline(tmp_path)
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('kept'), sys.exit(143)))\n"
        "print('at work')\ntime.sleep(60)\n"
    )
    run = start(script)
    assert run.stdout is not None
    while run.stdout.readline() != "at work\n":
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    assert run.communicate(timeout=30)[0] == "kept\n"
    assert run.returncode == 143
