"""RecBole's own Trainer: the users and items it sees, and its weights in models of ours."""

import sys

import numpy as np
import pytest
import torch

from prorl.errors import DataError
from prorl.files import read_json
from prorl.params import Params, laid_over
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_training import _in_order, fit_by_recbole, train_by_recbole
from prorl.simulators.registry import SIMULATORS
from prorl.simulators.scoring import load_simulator
from prorl.simulators.training import last_item_ranks
from tests.simulators.test_own import DATASET, stage, write_prepared
from tests.tiny_models import PARAMS, SIMULATOR, SIZES, sequences_of

N_ITEMS = 14
CIRCLE = [[(start + step) % 12 + 1 for step in range(7 + start % 5)] for start in range(12)]
TRAIN, VALIDATION = (
    sequences_of(*CIRCLE),
    sequences_of(*[[*items[:5], 13] for items in CIRCLE[:3]], CIRCLE[4]),
)
SETTINGS = SIMULATOR.replace(max_length=6, epochs=2)


@pytest.mark.parametrize("name", SIMULATORS)
def test_recboles_weights_rank_validation_users_as_recbole_says(name):
    """Items 13 and 14 no training user has; 14 nobody. RecBole's BERT4Rec does not read the oldest item."""
    before = {key: vars(np).get(key) for key in ("float_", "bool", "long", "unicode_")}, list(sys.argv)
    trained = fit_by_recbole(name, TRAIN, VALIDATION, N_ITEMS, SETTINGS, seed=3)
    assert ({key: vars(np).get(key) for key in before[0]}, sys.argv) == before, "the process is as it was"
    assert len(trained.mrr) == 2
    assert trained.simulator.n_items == N_ITEMS
    assert trained.seconds > 0
    ours = ranking_metrics(last_item_ranks(trained.simulator, VALIDATION, 6))["mrr@10"]
    if name != "BERT4Rec":
        assert ours == pytest.approx(max(trained.mrr), abs=1e-6)
    again = fit_by_recbole(name, TRAIN, VALIDATION, N_ITEMS, SETTINGS, seed=3)
    for key, value in trained.simulator.model.state_dict().items():
        assert torch.equal(value, again.simulator.model.state_dict()[key]), key


def test_the_best_epochs_weights_are_kept_and_it_stops_where_none_is_better(tmp_path):
    settings = SETTINGS.replace(epochs=40, patience=2, learning_rate=0.5)
    simulator, result = train_by_recbole("GRU4Rec", TRAIN, VALIDATION, N_ITEMS, settings, 3, tmp_path)
    lines = (tmp_path / "plots/metrics/validation/mrr@10.tsv").read_text().splitlines()[1:]
    curve = [float(line.split()[-1]) for line in lines]
    assert len(curve) == result["epochs"] < 40, "it is thrown about at such a rate"
    assert curve[result["best_epoch"] - 1] == max(curve) > curve[-1]
    ours = ranking_metrics(last_item_ranks(simulator, VALIDATION, 6))["mrr@10"]
    assert ours == pytest.approx(max(curve), abs=1e-6)


def test_too_few_items_for_its_metrics_are_one_line():
    with pytest.raises(DataError, match=r"trainer: got recbole with 9 items, allowed: own below 10"):
        fit_by_recbole("GRU4Rec", TRAIN, VALIDATION, 9, SETTINGS, seed=3)


def test_rows_of_items_are_put_in_order_and_others_left():
    weights = {
        "item_embedding.weight": torch.tensor([[0.0], [10.0], [20.0], [30.0], [99.0]]),  # a mask behind
        "output_bias": torch.tensor([0.0, 1.0, 2.0, 3.0]),
        "dense.weight": torch.tensor([[5.0]]),
    }
    found = _in_order(weights, np.array([0, 3, 1, 2]))
    assert found["item_embedding.weight"].flatten().tolist() == [0, 30, 10, 20, 99]
    assert found["output_bias"].tolist() == [0, 3, 1, 2]
    assert torch.equal(found["dense.weight"], weights["dense.weight"])


@pytest.mark.parametrize("name", ["GRU4Rec", "BERT4Rec"])
def test_the_stage_trains_by_it_where_settings_say_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(tmp_path / "data/prepared" / DATASET, n_items=12)
    tiny = {"trainer": "recbole", "epochs": 1, "max_length": 8, name: SIZES[name].model_dump()}
    raw = laid_over(PARAMS.raw, {"simulator": tiny})
    stage().body(Params(PARAMS.heads, raw, "params.yaml"), DATASET, name)
    metrics = read_json(tmp_path / "reports" / DATASET / f"simulator/{name}.json")
    assert (metrics["best_epoch"], metrics["epochs"]) == (1, 1)
    simulator = load_simulator(tmp_path / "models/simulators" / DATASET / name)
    assert simulator.n_items == metrics["n_items"] == 12
    curve = tmp_path / "reports" / DATASET / f"curves/simulator/{name}/plots/metrics/validation/mrr@10.tsv"
    assert len(curve.read_text().splitlines()) == 2
