"""Mistakes in the files of experiments and in the settings of their rows."""

import copy

import pytest

from prorl.experiments.checking import findings
from prorl.params import read_yaml
from prorl.presets import fill_in_entries
from tests.experiments.files import write
from tools.stage_dependencies import ROOT

RAW = read_yaml(ROOT / "params.yaml")
LONG = {"seeds": [1], "pretrain_passes": 3, "passes": 2, "set": ["finetune.centering_steps=8"]}


@pytest.mark.parametrize("place", ["ml-100k", "own"])
def test_steps_of_a_data_set_are_no_mistake_of_a_long_row(tmp_path, place):
    """The row takes the place of those of its own data set, and runs without the other."""
    write(tmp_path, long=LONG)
    raw = copy.deepcopy(RAW) | {"datasets": ["ml-100k", "own"]}
    fill_in_entries(raw)
    raw["fetch"]["own"]["source"] = "steam"
    raw["finetune"][place]["steps"] = 120
    before = copy.deepcopy(raw)
    assert findings(tmp_path, raw) == []
    assert raw == before, "the settings are left as they are"


def test_a_mistake_of_a_row_is_told_with_the_row_and_of_a_long_row_as_such(tmp_path):
    rows = {
        "first": {"label": "First"},
        "second": {"label": "Second", "set": ["finetune.gamma=2"]},
        "third": {"label": "Third", "set": ["finetune.gama=0.5"]},
    }
    write(tmp_path, rows=rows, long=LONG)
    assert [text.partition(": got")[0].partition(": params.yaml")[0] for text in findings(tmp_path, RAW)] == [
        f"experiments/own.yaml: {kind}row {row}: finetune.{key}"
        for kind in ("", "long, ")
        for row, key in (("second", "gamma"), ("third", "gama"))
    ]


def test_of_a_file_with_a_mistake_the_first_is_told(tmp_path):
    write(tmp_path)
    (tmp_path / "experiments" / "other.yaml").write_text("title: A title\n", encoding="utf-8")
    (found,) = findings(tmp_path, RAW)
    assert found == "experiments/other.yaml: source: missing"
