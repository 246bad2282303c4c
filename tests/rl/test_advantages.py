"""Reward-to-go and the advantages of every estimator, worked out by hand.

Three rollouts of one prompt, at most three items long:
    rollout 0 writes three items, rewards 1, 2, 4: it makes no stop, since the path is of the longest length
    rollout 1 writes two, rewards 3, 5, and stops at t = 2
    rollout 2 writes one, reward 6, and stops at t = 1
"""

import pytest
import torch

from prorl.rl.advantages import acting, leave_one_out, position_specific, prefix_specific, reward_to_go
from prorl.rl.estimators import ESTIMATORS
from tests.rl.short_runs import advantages_by

LENGTH = torch.tensor([[3, 2, 1]])
REWARDS = torch.tensor([[[1.0, 2.0, 4.0], [3.0, 5.0, 0.0], [6.0, 0.0, 0.0]]])


def test_items_and_stops_act_but_a_path_of_the_longest_length_makes_no_stop():
    assert acting(LENGTH, 3).int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]]]
    assert acting(torch.tensor([[0]]), 3).int().tolist() == [
        [[1, 0, 0, 0]]
    ]  # an empty path acts once: it stops


def test_reward_to_go():
    # Undiscounted sums from each position on; a stop has nothing left to come.
    assert reward_to_go(REWARDS, 1.0).tolist() == [[[7, 6, 4, 0], [8, 5, 0, 0], [6, 0, 0, 0]]]
    # gamma = 1/2: 1 + 2/2 + 4/4 = 3, 2 + 4/2 = 4, 4; 3 + 5/2 = 5.5.
    assert reward_to_go(REWARDS, 0.5).tolist() == [[[3, 4, 4, 0], [5.5, 5, 0, 0], [6, 0, 0, 0]]]


def test_position_specific_advantages():
    advantages = position_specific(reward_to_go(REWARDS, 1.0), acting(LENGTH, 3))
    # t = 0: all act, G = 7, 8, 6, mean 7.
    # t = 1: all act, rollout 2 by stopping, G = 6, 5, 0, mean 11/3.
    # t = 2: rollouts 0 and 1 act, rollout 1 by stopping, G = 4, 0, mean 2; rollout 2 has no part in it.
    third = 1 / 3
    expected = [[0, 7 * third, 2, 0], [1, 4 * third, -2, 0], [-1, -11 * third, 0, 0]]
    torch.testing.assert_close(advantages, torch.tensor([expected]))


def test_leave_one_out_advantages():
    advantages = leave_one_out(reward_to_go(REWARDS, 1.0), acting(LENGTH, 3))
    # t = 0: G = 7, 8, 6 less the others' means 7, 6.5, 7.5; t = 1: G = 6, 5, 0 less 2.5, 3, 5.5.
    # t = 2: rollouts 0 and 1 act, G = 4, 0 less 0, 4.
    expected = [[0, 3.5, 4, 0], [1.5, 2, -4, 0], [-1.5, -5.5, 0, 0]]
    torch.testing.assert_close(advantages, torch.tensor([expected]))


def test_prefix_specific_advantages_are_what_the_earned_does_not_explain():
    """Against least squares over the other prompts, prompt by prompt and position by position."""
    generator = torch.Generator().manual_seed(0)
    rewards, gamma = torch.randn(5, 4, 3, generator=generator).double(), 0.8
    rewards[..., 1] -= 0.5 * rewards[..., 0]  # the more at first, the less to come
    to_go, acts = reward_to_go(rewards, gamma), acting(torch.full((5, 4), 3), 3)
    found = prefix_specific(to_go, acts, gamma)
    plain = leave_one_out(to_go, acts)
    assert torch.equal(found[..., 0], plain[..., 0])  # nothing is earned yet
    assert found[..., 3].eq(0).all()
    for t in (1, 2):
        earned = (gamma ** torch.arange(t) * rewards[..., :t]).sum(-1)
        earned = (earned - earned.mean(1, keepdim=True)) * 4 / 3
        for b in range(5):
            others = [i for i in range(5) if i != b]
            x, y = earned[others].flatten(), plain[others, :, t].flatten()
            slope = (x @ y / (x @ x)).clamp(-1, 1)
            torch.testing.assert_close(found[b, :, t], plain[b, :, t] - slope * earned[b])
    assert (found - plain)[..., 1:3].abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # G[0] = 7, 8, 6 at every action, stops included.
        ("reinforce", [[7, 7, 7, 0], [8, 8, 8, 0], [6, 6, 0, 0]]),
        ("reward_to_go", [[7, 6, 4, 0], [8, 5, 0, 0], [6, 0, 0, 0]]),
        # Their mean is 7.
        ("grpo", [[0, 0, 0, 0], [1, 1, 1, 0], [-1, -1, 0, 0]]),
    ],
)
def test_advantages_of_the_other_estimators(name, expected):
    assert advantages_by(name)(reward_to_go(REWARDS, 1.0), acting(LENGTH, 3)).tolist() == [expected]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_rollout_that_acts_nowhere_has_no_part_in_the_others_advantages(name):
    to_go, acts = reward_to_go(REWARDS, 1.0), acting(LENGTH, 3)
    to_go = torch.cat([to_go, torch.full((1, 1, 4), 99.0)], dim=1)
    nowhere = torch.cat([acts, torch.zeros(1, 1, 4, dtype=torch.bool)], dim=1)
    advantages = advantages_by(name)(to_go, nowhere)
    torch.testing.assert_close(advantages[:, :3], advantages_by(name)(to_go[:, :3], acts))
    assert advantages[:, 3].eq(0).all()


@pytest.mark.parametrize(
    ("estimator", "first"),
    [
        # t = 0: G = 7 against two stops with 0, mean 7/3; of the others 0 for rollout 0, and 7/2 for each of
        # them.
        (position_specific, [14 / 3, -7 / 3, -7 / 3]),
        (leave_one_out, [7, -7 / 2, -7 / 2]),
    ],
)
def test_alone_at_a_position_there_is_no_advantage(estimator, first):
    # Rollout 0 alone goes beyond t = 1, where the others have stopped: nothing says whether that was good.
    length, rewards = torch.tensor([[3, 0, 0]]), torch.tensor([[[1.0, 2.0, 4.0], [0, 0, 0], [0, 0, 0]]])
    advantages = estimator(reward_to_go(rewards, 1.0), acting(length, 3))
    torch.testing.assert_close(advantages[0, :, 0], torch.tensor(first))
    assert advantages[..., 1:].eq(0).all()


def test_prompts_have_baselines_of_their_own():
    rewards = torch.cat([REWARDS, REWARDS + 100 * (REWARDS != 0)])
    length = LENGTH.expand(2, -1)
    to_go, acts = reward_to_go(rewards, 1.0), acting(length, 3)
    together = position_specific(to_go, acts)
    apart = torch.cat([position_specific(to_go[i : i + 1], acts[i : i + 1]) for i in range(2)])
    assert torch.equal(together, apart)


def test_advantages_sum_to_nothing_at_every_position():
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(0, 6, (20, 7), generator=generator)
    rewards = torch.randn(20, 7, 5, generator=generator).double() * (torch.arange(5) < length[..., None])
    advantages = position_specific(reward_to_go(rewards, 0.9), acting(length, 5))
    torch.testing.assert_close(advantages.sum(1), torch.zeros(20, 6, dtype=torch.float64), rtol=0, atol=1e-12)
    assert advantages[~acting(length, 5)].eq(0).all()
