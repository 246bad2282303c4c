"""Simulators learn, stop, and continue where they were interrupted."""

import pytest
import torch

from prorl.curves import Curves
from prorl.errors import TrainingError
from prorl.simulators import training
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.registry import SIMULATORS
from prorl.simulators.training import last_item_ranks, train_simulator
from tests.tiny_models import (
    BERT4REC,
    SIMULATOR,
    Killed,
    checkpoint_at,
    killed_at,
    random_simulator,
    sequences_of,
    session_at,
)

N_ITEMS = 12
CIRCLE = [
    [(start + step) % N_ITEMS + 1 for step in range(6 + start)] for start in range(N_ITEMS)
]  # every item is followed by the next


def train(name, folder, settings=SIMULATOR, seed=7):
    session = session_at(folder)
    data = sequences_of(*CIRCLE), sequences_of(*CIRCLE[:6]), N_ITEMS
    simulator, result = train_simulator(name, *data, settings, seed, session)
    return simulator, result, session.checkpoint.load()[1]["rows"]


@pytest.mark.parametrize("name", SIMULATORS)
def test_training_learns_what_follows_what(name, tmp_path):
    """BERT4Rec, which must find out first where to look, takes longer."""
    epochs, share, reached = (60, 0.7, 0.6) if name == "BERT4Rec" else (30, 0.5, 0.9)
    settings = SIMULATOR.replace(epochs=epochs, patience=epochs, BERT4Rec=BERT4REC.replace(passes=6))
    simulator, result, curves = train(name, tmp_path, settings)
    losses = [row["values"]["train/loss"] for row in curves]
    assert losses[-1] < share * losses[0]
    assert result["epochs"] == epochs
    assert ranking_metrics(last_item_ranks(simulator, sequences_of(*CIRCLE), 8))["mrr@10"] > reached


def test_the_first_epochs_loss_is_that_of_chance(tmp_path):
    """Cross-entropy per position over the items, padding not among them."""
    _, _, curves = train("SASRec", tmp_path, SIMULATOR.replace(epochs=1, learning_rate=1e-9))
    assert curves[0]["values"]["train/loss"] == pytest.approx(
        torch.tensor(float(N_ITEMS)).log().item(), abs=0.05
    )


@pytest.mark.parametrize("name", SIMULATORS)
def test_weights_that_are_no_numbers_end_the_run(name, tmp_path, monkeypatch):
    """Every rank by NaN is the first, so such a simulator would look perfect."""
    train_epoch, trained = training._train_epoch, []

    def spoilt(run, model, *arguments):
        loss = train_epoch(run, model, *arguments)
        trained.append(1)
        if len(trained) == 2:
            model.item_embedding.weight.data[1:] = torch.nan
        return loss

    monkeypatch.setattr(training, "_train_epoch", spoilt)
    with pytest.raises(
        TrainingError,
        match=r"a weight is not finite, at epoch 2; last good checkpoint: .*/checkpoint\.safetensors",
    ):
        train(name, tmp_path)
    assert checkpoint_at(tmp_path / "checkpoint.safetensors").load()[1]["step"] == 1


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf), at epoch 1; last good checkpoint: none yet"
    ):
        train("GRU4Rec", tmp_path, SIMULATOR.replace(learning_rate=1e38, batch_size=2))


@pytest.mark.parametrize("name", SIMULATORS)
def test_an_interrupted_run_ends_with_the_weights_and_curves_of_an_unbroken_one(name, tmp_path, monkeypatch):
    unbroken, result, curves = train(name, tmp_path / "unbroken")
    log = Curves.log
    monkeypatch.setattr(Curves, "log", killed_at(3, log))
    with pytest.raises(Killed):
        train(name, tmp_path / "broken")
    monkeypatch.setattr(Curves, "log", log)
    epochs_run = []
    train_epoch = training._train_epoch
    monkeypatch.setattr(
        training, "_train_epoch", lambda *arguments: epochs_run.append(1) or train_epoch(*arguments)
    )
    continued, same_result, same_curves = train(name, tmp_path / "broken")
    assert len(epochs_run) == 2  # epochs 3 and 4
    assert same_result == result
    assert same_curves == curves
    for key, value in unbroken.model.state_dict().items():
        assert torch.equal(value, continued.model.state_dict()[key]), key


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best_epoch(tmp_path, monkeypatch):
    mrr = iter([0.1, 0.3, 0.2, 0.3, 0.3])
    weights = []

    def metrics(ranks):
        return {"mrr@10": next(mrr)}

    train_epoch = training._train_epoch

    def remember(run, model, *rest):
        loss = train_epoch(run, model, *rest)
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
        return loss

    monkeypatch.setattr(training, "ranking_metrics", metrics)
    monkeypatch.setattr(training, "_train_epoch", remember)
    simulator, result, _ = train("GRU4Rec", tmp_path, SIMULATOR.replace(epochs=20, patience=3))
    assert result == {"best_epoch": 2, "epochs": 5}
    for key, value in weights[1].items():
        assert torch.equal(value, simulator.model.state_dict()[key]), key


def test_ranks_of_last_items_read_at_most_the_longest_history():
    simulator = random_simulator(N_ITEMS, max_length=5)
    sequences = sequences_of([1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7])
    ranks = last_item_ranks(simulator, sequences, 4, batch_size=1)
    for rank, history in zip(ranks.tolist(), ([3, 4, 5, 6], [4, 5, 6]), strict=True):
        alone = simulator.score(
            torch.tensor([history]), torch.zeros(1, 1, 1, dtype=torch.int64), torch.tensor([7])
        )
        assert rank == alone.rank[0, 0, 0]
