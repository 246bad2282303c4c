"""Advantages of actions, with stopping as an action, as far as they follow from rewards alone.

Source: ProRL (arXiv 2605.28293), which compares them; `prorl.rl.estimators` gives them their names. Each
takes the reward-to-go `to_go` and the mask `acts` of who acts where, both [b, m, t+1], and gives the
advantages [b, m, t+1], 0 where a rollout does not act. In the paper's, a rollout's own reward is part of its
baseline, so that with n rollouts in a baseline the expected gradient is (n - 1) / n of the true one; in
`leave_one_out`, `against_others` and `prefix_specific` it is not.
Shape key: `b` prompts, `m` rollouts, `t` path position; actions have one position more, for a stop.
"""

from typing import cast

import torch
from accelerate.utils import reduce

NO_SQUARE = 1e-9  # a sum of squares that counts as 0


def acting(length: torch.Tensor, max_length: int) -> torch.Tensor:
    """Which rollouts act at each position, [b, m, t+1]: an item at t < length, the stop at t = length.

    A path of `max_length` makes no stop.
    """
    position = torch.arange(max_length + 1, device=length.device)
    return (position <= length[..., None]) & (position < max_length)


def reward_to_go(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    """G[t] = sum over l >= t of gamma^(l-t) r[l], [b, m, t+1] from [b, m, t]; the last, where nothing is left
    to come, is 0.
    """
    to_go = [torch.zeros_like(rewards[..., 0])]
    for t in reversed(range(rewards.shape[-1])):
        to_go.append(rewards[..., t] + gamma * to_go[-1])
    return torch.stack(to_go[::-1], dim=-1)


def reinforce(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[0], the whole path's return at each of its actions, [b, m, t+1] (Williams 1992, without a
    baseline).
    """
    return to_go[..., :1] * acts


def without_baseline(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[t], [b, m, t+1]: rewards before an action do not count for it (Sutton et al. 1999)."""
    return to_go * acts


def group_relative(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[0] - mean of G[0] over the prompt's rollouts, [b, m, t+1] (GRPO, Shao et al. 2024).

    Not divided by their deviation, so that it differs from the other estimators in the baseline alone (as in
    Liu et al. 2025). Every rollout acts at t = 0; one that acts nowhere has no part in the mean.
    """
    path_return, takes_part = to_go[..., :1], acts[..., :1]
    mean = (path_return * takes_part).sum(1, keepdim=True) / takes_part.sum(1, keepdim=True).clamp(min=1)
    return (path_return - mean) * acts


def position_specific(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[t] - mean of G[t] over the prompt's rollouts that act at t, [b, m, t+1]; 0 where a rollout
    does not act, or acts alone.

    ProRL's PSAE.
    """
    count = acts.sum(1, keepdim=True)
    baseline = (to_go * acts).sum(1, keepdim=True) / count.clamp(min=1)
    return (to_go - baseline) * (acts & (count > 1))


def leave_one_out(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[t] - mean of G[t] over the prompt's other rollouts that act at t, [b, m, t+1]; 0 where a
    rollout does not act, or acts alone.

    RLOO (Kool et al. 2019; Ahmadian et al. 2024) at each position: n / (n - 1) times `position_specific`
    where n act, so that its expected gradient is the true one wherever a rollout has company.
    """
    return against_others(to_go, acts) * (acts.sum(1, keepdim=True) > 1)


def against_others(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[t] - mean of G[t] over the prompt's other rollouts that act at t, [b, m, t+1]: `leave_one_out`
    but for a rollout that acts alone, whose A[t] is G[t], so that nothing is lost of the expected gradient.
    """
    return (to_go - mean_of_others(to_go, acts)) * acts


def prefix_specific(to_go: torch.Tensor, acts: torch.Tensor, gamma: float) -> torch.Tensor:
    """`against_others`, less what is to be expected of a prefix that has earned more than the others' at its
    position, [b, m, t+1].

    A prefix has earned E[t] = sum over l < t of gamma^l r[l]. Where items before have raised the target's
    interest less is left for those to come, and where the user takes much there is more. So the baseline is
    linear in E[t], with a slope from other prompts' rollouts: none of it depends on the action.
    """
    discount = gamma ** torch.arange(to_go.shape[-1], dtype=to_go.dtype, device=to_go.device)
    earned = against_others(to_go[..., :1] - discount * to_go, acts)
    advantages = against_others(to_go, acts)
    return advantages - slope_of_others(advantages, earned, otherwise=0.0).clamp(-1, 1) * earned


def slope_of_others(y: torch.Tensor, x: torch.Tensor, *, otherwise: float) -> torch.Tensor:
    """The slope [b, 1, t+1] of `y` on `x` [b, m, t+1], by least squares through 0 at each position, over the
    rollouts of the other prompts, of all processes; `otherwise` where these say nothing.
    """
    product, square = (x * y).sum(1, keepdim=True), (x * x).sum(1, keepdim=True)
    product, square = (
        cast(torch.Tensor, reduce(s.sum(0, keepdim=True), "sum")) - s for s in (product, square)
    )
    return torch.where(square > NO_SQUARE, product / square.clamp(min=NO_SQUARE), otherwise)


def mean_of_others(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """The mean of G[t] over the prompt's other rollouts that act at t, [b, m, t+1]; 0 where there are none,
    of no meaning where a rollout does not act.
    """
    acted = to_go * acts
    return (acted.sum(1, keepdim=True) - acted) / (acts.sum(1, keepdim=True) - 1).clamp(min=1)
