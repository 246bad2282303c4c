"""Two processes train as one does: the same curves and weights at the same global batch."""

import json
import os
import socket
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests.rl.several_processes import train_all
from tests.stage_dependencies import ROOT


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture
def both(tmp_path):
    """What one process, and two together, have written."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    own = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.rl.several_processes", str(together)],
            cwd=ROOT,
            env=os.environ | own | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        train_all(alone)
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return alone, together


def test_two_processes_give_the_curves_and_weights_of_one(both):
    assert [(folder / "processes").read_text() for folder in both] == ["1", "2"]
    one, two = (json.loads((folder / "rows.json").read_text()) for folder in both)
    assert list(one) == ["simulator", "pretrain", "finetune"]
    for name in one:
        assert [row["step"] for row in one[name]] == [row["step"] for row in two[name]]
        for own, other in zip(one[name], two[name], strict=True):
            assert other["values"] == pytest.approx(own["values"], rel=1e-5, abs=1e-5), (name, own["step"])
    one, two = (load_file(folder / "policy.safetensors") for folder in both)
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() < 1e-4, name
