"""The steps that the training stages report, against the curves they write."""

import csv

import pytest

from prorl.config.finetune import Finetune
from prorl.params import read_params

DATASET = "ml-100k"


@pytest.fixture
def curve(pipeline):
    """A function that gives a stage's validation curve of a metric, {step: value}."""

    def read(stage, metric):
        folder = pipeline.clone.root / f"reports/{DATASET}/curves/{stage}/plots/metrics/validation"
        with (folder / f"{metric}.tsv").open(newline="") as file:
            return {int(row["step"]): float(row[metric]) for row in csv.DictReader(file, delimiter="\t")}

    return read


def test_pretraining_keeps_the_step_of_the_lowest_loss(pipeline, curve):
    report, losses = pipeline.clone.read(f"reports/{DATASET}/pretrain.json"), curve("pretrain", "loss")
    assert report["steps"] == max(losses)
    assert set(losses) <= {3, 6}
    assert report["best_step"] == min(losses, key=losses.get)
    assert report["validation_loss"] == pytest.approx(min(losses.values()))


def test_finetuning_keeps_the_step_of_the_best_score(pipeline, curve):
    report = pipeline.clone.read(f"reports/{DATASET}/finetune.json")
    weights = read_params(pipeline.clone.root / "params.yaml").section(Finetune, DATASET).select_on
    curves = {metric: curve("finetune", metric) for metric in weights}
    scores = {
        step: sum(weight * curves[metric][step] for metric, weight in weights.items())
        for step in next(iter(curves.values()))
    }
    assert list(scores) == [0, 2, 3]  # the start, every second step, and the last
    del scores[0]  # the start is no candidate
    assert report["best_step"] == max(scores, key=scores.get)
    for metric, values in curves.items():
        assert report["validation_initial"][metric] == pytest.approx(values[0])
        assert report["validation"][metric] == pytest.approx(values[report["best_step"]])


def test_moments_of_the_rewards_are_those_of_rewards_that_differ(pipeline):
    centering = pipeline.clone.read(f"reports/{DATASET}/finetune.json")["centering"]
    assert set(centering) == {"ctr", "ioi", "ior", "coherence"}
    assert all(values["std"] > 0 for values in centering.values())
    assert 0 < centering["ctr"]["mean"] < 1
