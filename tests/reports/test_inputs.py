"""The stages' outputs as the report reads them."""

import pytest

from prorl.errors import DataError
from prorl.reports.inputs import Curve, read_curves
from tests.reports.written_inputs import read_all


def test_a_curve_knows_its_stage_name_steps_and_values(inputs):
    assert [(curve.stage, curve.name) for curve in inputs.curves] == [
        ("finetune", "train/kl"),
        ("pretrain", "train/loss"),
        ("pretrain", "validation/loss"),
        ("simulator/GRU4Rec", "validation/mrr@10"),
        ("simulator/SASRec", "validation/mrr@10"),
    ]
    assert inputs.curves[0] == Curve("finetune", "train/kl", [0, 10], [0.0, 0.25])


def test_simulators_are_those_asked_for_in_that_order_and_items_have_titles(inputs, written):
    assert list(inputs.simulators) == ["GRU4Rec", "SASRec"]
    assert list(read_all(written, ["SASRec", "GRU4Rec"]).simulators) == ["SASRec", "GRU4Rec"]
    assert list(read_all(written, ["SASRec"]).simulators) == ["SASRec"]
    assert inputs.titles[1] == "Alien"


@pytest.mark.parametrize("text", ["step\tother\n0\t1\n", "step\tkl\n0\tmany\n", "step\tkl\n0\n"])
def test_a_curve_without_its_columns_is_an_error_that_names_the_file(copied, text):
    path = copied / "reports/curves/finetune/plots/metrics/train/kl.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"train/kl\.tsv: needed are columns 'step' and 'kl' of numbers"):
        read_curves(copied / "reports/curves")


def test_a_metrics_file_that_is_no_json_is_named(copied):
    (copied / "reports/finetune.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"finetune\.json: not JSON"):
        read_all(copied)
