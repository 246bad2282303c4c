"""The commands and versions that a report names."""

import re
from importlib.metadata import version

import pytest

from prorl.config.heads import Heads
from prorl.params import read_yaml
from prorl.reports.made_with import STAGES, commands, versions
from tools.stage_dependencies import DVC_FILE

HEADS = Heads(
    seed=1,
    training_seed=None,
    launch="torchrun",
    datasets=["own"],
    simulators=["SASRec", "GRU4Rec"],
    guides=["search"],
)


def test_every_stage_has_its_command_and_those_that_train_are_launched():
    found = commands(HEADS, "own")
    assert found[0] == "python stages/inputs.py own"
    assert "torchrun stages/simulator.py own SASRec" in found
    assert "torchrun stages/simulator.py own GRU4Rec" in found
    assert "python stages/guide.py own search" in found
    assert found[-1] == "python stages/report.py own"
    assert len(found) == len(STAGES) + 2


def test_the_stages_are_those_of_the_pipeline():
    stages = read_yaml(DVC_FILE)["stages"].items()
    everywhere = {name: stage for name, stage in stages if stage["matrix"]["dataset"] == "${datasets}"}
    assert list(everywhere) == [stage for stage, _, _ in STAGES]
    for name, launched, axis in STAGES:
        starts = "${launch}" if launched else "python"
        items = "".join(f" '${{item.{key}}}'" for key in everywhere[name]["matrix"])
        assert everywhere[name]["cmd"] == f"{starts} stages/{name}.py{items}"
        assert list(everywhere[name]["matrix"].values())[1:] == ([f"${{{axis}}}"] if axis else [])


def test_versions_are_those_installed_without_the_name_of_a_build():
    rows = dict(versions().rows)
    assert rows["torch"] == version("torch").split("+")[0]
    assert re.fullmatch(r"3\.1\d\.\d+", rows["Python"])
    assert not any("+" in value for value in rows.values())


@pytest.mark.parametrize("machine", ["hostname", "MiB", "cores"])
def test_nothing_of_the_machine_is_told(machine):
    told = " ".join([*commands(HEADS, "own"), *(cell for row in versions().rows for cell in row)])
    assert machine not in told
