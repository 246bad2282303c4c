"""Numbers that are not numbers, sums over a million items, and ranks under ties."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.finetune import StopOnCollapse
from prorl.config.section import ConfigError
from prorl.devices import accelerator
from prorl.errors import TrainingError
from prorl.metrics.path_metrics import increment_of_rank
from prorl.rl.collapse import fallen, least
from prorl.simulators import blocks
from prorl.simulators.blocks import SharedVectors, target_scores
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_training import fit_by_recbole
from prorl.simulators.training import popularity_ranks
from tests.tiny_models import (
    SIMULATOR,
    fresh_accelerator,  # noqa: F401
    random_simulator,
    sequences_of,
    session_at,
)


def begun(folder, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    resumable = Modules({"model": model, "optimizer": optimizer})
    return session_at(folder).begin(accelerator("float32"), model, resumable)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_curve_takes_no_number_that_is_none(value, tmp_path):
    training = begun(tmp_path, nn.Linear(1, 1))
    for step in training.steps(3):
        training.log(step, {"train/loss": 1.0})
        training.save()
        if step == 2:
            break
    good = training.session.checkpoint.path
    with pytest.raises(
        TrainingError, match=rf"train/loss is {value}, at step 3; last good checkpoint: {good}"
    ):
        training.log(3, {"train/loss": value})
    assert training.step == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_checkpoint_takes_no_weight_that_is_no_number(value, tmp_path):
    model = nn.Linear(1, 1)
    training = begun(tmp_path, model)
    for step in training.steps(2):
        training.log(step, {"train/loss": 1.0})
        if step == 2:
            with torch.no_grad():
                model.bias.fill_(value)
            with pytest.raises(
                TrainingError, match=r"model/bias is not finite, at step 2; last good checkpoint: /"
            ):
                training.save()
            break
        training.save()
    again = begun(tmp_path, nn.Linear(1, 1))
    assert again.step == 1, "the checkpoint before is still there"
    assert torch.isfinite(again.session.checkpoint.load()[0]["model/bias"]).all()


def test_recboles_trainer_ends_with_one_error_where_its_loss_is_no_number(tmp_path, monkeypatch):
    sequences = sequences_of(*[[(start + step) % 12 + 1 for step in range(6)] for start in range(6)])
    settings = SIMULATOR.replace(max_length=6, epochs=3, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"simulator GRU4Rec: Training loss is nan, at epoch \d; RecBole"):
        fit_by_recbole("GRU4Rec", sequences, sequences, 12, settings, seed=3)


# Sums and ranks over all items


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_sum_over_a_million_items_is_exact_to_the_last_bits_of_its_type(dtype, monkeypatch):
    """Summed block by block in bfloat16 it would stand still after some hundred blocks."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(10**6, 4, generator=generator).to(dtype)
    states = torch.randn(3, 4, generator=generator).to(dtype)
    target = torch.tensor([1, 500_000, 10**6])
    log_prob, rank = target_scores(states, target, vectors, None)
    exact = torch.cat([(states.double() @ part.double().T) for part in vectors.split(10**5)], dim=1)
    expected = exact.log_softmax(1).gather(1, target[:, None] - 1)[:, 0]
    assert log_prob.dtype == dtype
    spacing = 8 * torch.finfo(dtype).eps  # of a number between 8 and 16, as they are
    torch.testing.assert_close(log_prob.double(), expected, rtol=0, atol=16 * spacing)
    assert ((rank >= 1) & (rank <= 10**6)).all()
    if dtype == torch.bfloat16:
        monkeypatch.setattr(blocks, "at_least_float32", lambda own: own)
        summed_in_bfloat16, _ = target_scores(states, target, vectors, None)
        assert (summed_in_bfloat16.double() - expected).abs().max() > 1


def test_a_simulator_in_bfloat16_sums_as_its_scores_do(monkeypatch):
    monkeypatch.setitem(blocks.SCORES_AT_ONCE, "cpu", (2, 1))  # as many blocks as items
    simulator = random_simulator(3000)
    simulator.model.to(torch.bfloat16)
    states = simulator.vectors[[5, 9]].clone()
    target = torch.tensor([7, 3000])
    exact = (
        (states.double() @ simulator.vectors[1:].double().T)
        .log_softmax(1)
        .gather(1, target[:, None] - 1)[:, 0]
    )
    for found in (simulator.target_log_prob(states, target), simulator.target_scores(states, target)[0]):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("block", [(3, 7), (128, 1024), (1, 1)])
def test_ranks_count_better_items_alone_however_many_tie(monkeypatch, block):
    """Small whole numbers, whose products are exact in any order: most of 500 items tie with others."""
    monkeypatch.setitem(blocks.SCORES_AT_ONCE, "cpu", block)
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randint(-2, 3, (500, 3), generator=generator).float()
    states = torch.randint(-2, 3, (20, 3), generator=generator).float()
    scores = (states @ vectors.T).numpy()
    shared = SharedVectors().of(vectors)
    for item in range(0, 500, 50):
        target = torch.full((20,), item + 1)
        _, rank = target_scores(states, target, vectors, shared)
        assert rank.tolist() == [1 + int((row > row[item]).sum()) for row in scores]
        tied = [int((row == row[item]).sum()) for row in scores]
        assert max(tied) > 20


def test_all_items_that_tie_have_the_first_of_their_ranks():
    vectors = torch.tensor([[2.0], [1.0], [1.0], [1.0], [0.0]])
    ranks = [
        target_scores(torch.ones(1, 1), torch.tensor([item]), vectors, SharedVectors().of(vectors))[1].item()
        for item in range(1, 6)
    ]
    assert ranks == [1, 2, 2, 2, 5]
    sequences = sequences_of([5, 1], [5, 2], [1, 3], [1, 5])
    assert popularity_ranks(np.array([0, 9, 4, 4, 4, 0]), sequences).tolist() == [1, 2, 2, 5]


def test_ranks_beyond_what_single_precision_counts_stay_exact():
    rank = np.array([[2**24 + 3, 2**24 + 2]])
    assert increment_of_rank(rank).tolist() == [1]
    found = ranking_metrics(torch.tensor([10, 11, 2**40]))
    assert found["mrr@10"] == pytest.approx(1 / 10 / 3, rel=1e-15)
    assert found["recall@10"] == pytest.approx(1 / 3, rel=1e-15)
    assert found["ndcg@10"] == pytest.approx(1 / math.log2(11) / 3, rel=1e-15)


# The collapse of a policy in fine-tuning


def test_what_has_fallen_below_its_share_is_told():
    settings = StopOnCollapse(distinct=0.5, best_of=0.9, patience=1)
    start = {"distinct": 0.8, "best_of": 4.0}
    assert fallen({"distinct": 0.4, "best_of": 3.6}, start, settings) is None
    assert (
        fallen({"distinct": 0.39, "best_of": 3.6}, start, settings)
        == "distinct is 0.390, allowed: at least 0.400"
    )
    both = fallen({"distinct": 0.1, "best_of": 3.0}, start, settings)
    assert both == "distinct is 0.100, allowed: at least 0.400; best_of is 3.000, allowed: at least 3.600"
    assert fallen({"distinct": 0.0}, {"distinct": 0.8}, None) is None
    of_one = StopOnCollapse(distinct=None, best_of=0.9, patience=1)
    assert fallen({"distinct": 0.0, "best_of": 4.0}, start, of_one) is None
    assert least(-2.0, 0.75) == -2.5, "a negative start allows as much below it"


def test_a_guard_that_needs_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"distinct: got null, allowed: a share"):
        StopOnCollapse(distinct=0.5, best_of=None, patience=1).replace(distinct=None)
