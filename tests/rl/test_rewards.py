"""Step rewards against the metrics of whole paths."""

import numpy as np
import torch

from prorl.metrics import path_metrics
from prorl.rl.rewards import lowest, penalised, repeats, step_rewards
from prorl.simulators.scoring import Scores
from tests.tiny_models import random_paths, random_prompts, random_simulator

N_ITEMS = 15


def test_step_rewards_written_out():
    """One path of two items, one that repeats itself."""
    scores = Scores(
        log_prob=torch.tensor([[[-5.0, -4.0, -4.5, -4.5], [-5.0, -3.0, -3.5, -1.0]]]),
        rank=torch.tensor([[[40, 30, 35, 35], [40, 10, 12, 2]]]),
        acceptance=torch.tensor([[[0.2, 0.6, 0.0], [0.3, 0.7, 0.9]]]),
    )
    rewards = step_rewards(torch.tensor([[[7, 8, 0], [9, 4, 9]]]), scores)
    assert rewards.ioi.tolist() == [[[1.0, -0.5, 0.0], [2.0, -0.5, 2.5]]]
    assert rewards.ior.tolist() == [[[10, -5, 0], [30, -2, 10]]]
    torch.testing.assert_close(
        rewards.ctr, torch.tensor([[[0.2, 0.6, 0.0], [0.3, 0.7, 0.0]]])
    )  # the repeat is not accepted
    assert rewards.real.tolist() == [[[True, True, False], [True] * 3]]
    assert rewards.repeated.tolist() == [[[False] * 3, [False, False, True]]]


def test_step_rewards_sum_to_the_metrics_of_the_path():
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    history, target = random_prompts(6, N_ITEMS)
    items = random_paths(6, 4, 5, N_ITEMS)
    items[0, 0] = 0
    scores = simulator.score(history, items, target)
    rewards = step_rewards(items, scores)
    log_prob, rank = scores.log_prob.flatten(0, 1).numpy(), scores.rank.flatten(0, 1).numpy()
    np.testing.assert_allclose(
        rewards.ioi.sum(-1).flatten(), path_metrics.increment_of_interest(log_prob), atol=1e-12
    )
    np.testing.assert_array_equal(rewards.ior.sum(-1).flatten(), path_metrics.increment_of_rank(rank))
    mean = (rewards.ctr.sum(-1) / rewards.real.sum(-1).clamp(min=1)).flatten().numpy()
    own = np.where(rewards.repeated.flatten(0, 1), 0.0, scores.acceptance.flatten(0, 1))
    np.testing.assert_allclose(mean, path_metrics.feasibility(own, items.flatten(0, 1).numpy()), atol=1e-12)
    for values in (rewards.ctr, rewards.ioi, rewards.ior):
        assert values[~rewards.real].eq(0).all()


def test_repeats_are_marked_from_the_second_time_on_and_padding_never():
    assert repeats(torch.tensor([[3, 3, 5, 3, 0, 0, -1, -1]])).tolist() == [
        [False, True, False, True] + [False] * 4
    ]


def test_non_items_move_nobody_and_items_are_rewarded_as_without_them():
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    history, target = random_prompts(1, N_ITEMS)
    items = torch.tensor([[[-1, 3, -1, 5], [3, 5, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]]])
    rewards = step_rewards(items, simulator.score(history, items, target))
    for values in (rewards.ctr, rewards.ioi, rewards.ior):
        assert torch.equal(values[0, 0, [1, 3]], values[0, 1, :2])
        assert values[0, 0, [0, 2]].eq(0).all()
        assert values[0, 2:].eq(0).all()
    assert torch.equal(rewards.real, items > 0)
    assert rewards.ctr[0, 0, 3] > 0


def test_non_items_are_worth_less_than_anything_in_the_batch():
    scores = Scores(
        log_prob=torch.tensor([[[-5.0, -4.0, -4.0, -4.5], [-5.0, -3.0, -3.5, -3.5]]]),
        rank=torch.tensor([[[40, 30, 30, 35], [40, 10, 12, 12]]]),
        acceptance=torch.tensor([[[0.2, 0.0, 0.6], [0.3, 0.7, 0.0]]]),
    )
    items = torch.tensor([[[7, -1, 8], [9, 4, 0]]])
    raw = step_rewards(items, scores)
    assert lowest(raw).tolist() == [-0.5, -5.0]
    rewards = penalised(raw, items, torch.tensor([-2.0, -5.0]))  # another process has seen an IoI of -2
    assert rewards.ioi.tolist() == [[[1.0, -3.0, -0.5], [2.0, -0.5, 0.0]]]
    assert rewards.ior.tolist() == [[[10, -6, -5], [30, -2, 0]]]
    torch.testing.assert_close(rewards.ctr, torch.tensor([[[0.2, -1.0, 0.6], [0.3, 0.7, 0.0]]]))
    assert torch.equal(rewards.real, items != 0)


def test_a_batch_of_non_items_alone_has_finite_penalties():
    items = torch.tensor([[[-1, 0]]])
    raw = step_rewards(
        items, Scores(torch.full((1, 1, 3), -5.0), torch.full((1, 1, 3), 40), torch.zeros(1, 1, 2))
    )
    rewards = penalised(raw, items, lowest(raw))
    assert [x[0, 0, 0].item() for x in (rewards.ctr, rewards.ioi, rewards.ior)] == [-1, -1, -1]
