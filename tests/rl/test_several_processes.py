"""Two processes under `accelerate launch` train as one does: the same curves and weights at the same global
batch.
"""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from tests.rl.several_processes import train_all
from tools.stage_dependencies import ROOT

# On a machine without a GPU the same launcher starts processes that talk through gloo.
LAUNCH = [
    "-m",
    "accelerate.commands.launch",
    "--multi_gpu",
    "--num_processes",
    "2",
    "--main_process_port",
    "0",
]


@pytest.fixture
def both(tmp_path):
    """What one process, and two under `accelerate launch`, have written."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    launched = subprocess.Popen(
        [sys.executable, *LAUNCH, "--module", "tests.rl.several_processes", str(together)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        train_all(alone)
        errors = launched.communicate(timeout=240)[1]
    finally:
        launched.terminate()  # it ends the processes it has started
    assert launched.returncode == 0, errors
    return alone, together


def test_two_processes_give_the_curves_and_weights_of_one(both):
    assert [(folder / "processes").read_text() for folder in both] == ["1", "2"]
    one, two = (json.loads((folder / "rows.json").read_text()) for folder in both)
    assert list(one) == ["simulator", "pretrain", "critic", "finetune"]
    for name in one:
        assert [row["step"] for row in one[name]] == [row["step"] for row in two[name]]
        for own, other in zip(one[name], two[name], strict=True):
            assert other["values"] == pytest.approx(own["values"], rel=1e-5, abs=1e-5), (name, own["step"])
    one, two = (load_file(folder / "policy.safetensors") for folder in both)
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() < 1e-4, name
