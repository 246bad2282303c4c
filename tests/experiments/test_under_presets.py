"""The repository's experiments on another data set: what its preset sets otherwise, a row states."""

import pytest

from prorl.config.finetune import Finetune
from prorl.experiments.definition import experiment_names, read_experiment
from prorl.experiments.running import planned
from prorl.params import params_of
from prorl.presets import with_layers
from tools.stage_dependencies import ROOT

NAMES = experiment_names(ROOT)
OWN = {"default", "embeddings"}  # ask what a data set's own fine-tuning brings


def runs_on(dataset, name):
    layers = [] if dataset == "ml-100k" else [ROOT / "presets" / f"{dataset}.yaml"]
    return planned(read_experiment(ROOT, name), with_layers(ROOT / "params.yaml", layers), dataset, [1])


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m"])
@pytest.mark.parametrize("name", NAMES)
def test_rows_under_a_preset_differ_as_they_do_without(name, dataset):
    runs = runs_on(dataset, name)
    assert len({str(run.params) for run in runs}) == len(runs)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN])
def test_a_row_fine_tunes_by_the_same_rule_on_every_data_set(name):
    """But for the number of steps, which is a data set's own."""
    for one, other in zip(runs_on("ml-100k", name), runs_on("ml-1m", name), strict=True):
        rules = [
            params_of(run.params, run.name).section(Finetune, dataset).replace(steps=1, epochs=None)
            for run, dataset in ((one, "ml-100k"), (other, "ml-1m"))
        ]
        assert rules[0] == rules[1], one.row
