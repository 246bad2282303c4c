"""Sums over rollouts of another number than a path's positions, as numbers that processes can add up."""

import torch

from prorl.rl.diagnostics import rollout_sums
from prorl.rl.rewards import REWARDS, step_rewards
from prorl.simulators.protocol import Scores
from tests.rl.short_runs import rated


def test_sums_are_float64_and_a_path_of_the_longest_length_has_not_stopped():
    items = torch.tensor([[[4, 5, 4], [6, 7, 0], [8, 0, 0], [0, 0, 0], [9, 8, 7]]])
    length = (items != 0).sum(-1)
    scores = Scores(
        log_prob=torch.zeros(1, 5, 4), rank=torch.ones(1, 5, 4).long(), acceptance=torch.full((1, 5, 3), 0.5)
    )
    sums = rollout_sums(items, length, step_rewards(rated(items, scores), list(REWARDS)))
    assert {value.dtype for value in sums.values()} == {torch.float64}
    found = {name: sums[name].item() for name in ("stopped", "steps", "repeats", "length", "length_square")}
    assert found == {"stopped": 3, "steps": 9, "repeats": 1, "length": 9, "length_square": 9 + 4 + 1 + 0 + 9}
