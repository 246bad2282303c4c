"""Step rewards against the metrics of whole paths."""

import numpy as np
import torch

from prorl.metrics import path_metrics
from prorl.rl.rewards import repeats, step_rewards
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
    torch.testing.assert_close(rewards.ctr, torch.tensor([[[0.2, 0.6, 0.0], [0.3, 0.7, 0.0]]]))  # the repeat is not accepted
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
    np.testing.assert_allclose(rewards.ioi.sum(-1).flatten(), path_metrics.increment_of_interest(log_prob), atol=1e-12)
    np.testing.assert_array_equal(rewards.ior.sum(-1).flatten(), path_metrics.increment_of_rank(rank))
    mean = (rewards.ctr.sum(-1) / rewards.real.sum(-1).clamp(min=1)).flatten().numpy()
    own = np.where(rewards.repeated.flatten(0, 1), 0.0, scores.acceptance.flatten(0, 1))
    np.testing.assert_allclose(mean, path_metrics.feasibility(own, items.flatten(0, 1).numpy()), atol=1e-12)
    for values in (rewards.ctr, rewards.ioi, rewards.ior):
        assert values[~rewards.real].eq(0).all()


def test_repeats_are_marked_from_the_second_time_on_and_padding_never():
    assert repeats(torch.tensor([[3, 3, 5, 3, 0, 0]])).tolist() == [[False, True, False, True, False, False]]
