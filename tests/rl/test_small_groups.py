"""Means and deviations of very few values."""

import pytest
import torch

from prorl.rl.advantages import group_relative, leave_one_out, position_specific
from prorl.rl.centering import Moments


@pytest.mark.parametrize("estimator", [group_relative, position_specific, leave_one_out])
def test_a_prompt_none_of_whose_rollouts_takes_part_has_no_advantages(estimator):
    to_go = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert estimator(to_go, torch.zeros(1, 2, 2, dtype=torch.bool)).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_two_values_deviate_by_their_distance_over_the_root_of_two():
    assert Moments.of(torch.tensor([1.0, 4.0])).std.item() == pytest.approx(3 / 2**0.5, rel=1e-12)
