"""Position-specific advantage estimation (PSAE), with stopping as an action.

Source: ProRL (arXiv 2605.28293). A rollout's own reward is part of its baseline, as in the paper, so that with n rollouts acting at a
position the expected gradient there is (n - 1) / n of the true one.
Shape key: `b` prompts, `m` rollouts, `t` path position; actions have one position more, for a stop.
"""

import torch


def acting(length: torch.Tensor, max_length: int) -> torch.Tensor:
    """Which rollouts act at each position, [b, m, t+1]: an item at t < length, the stop at t = length.

    A path of `max_length` makes no stop.
    """
    position = torch.arange(max_length + 1, device=length.device)
    return (position <= length[..., None]) & (position < max_length)


def reward_to_go(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    """G[t] = sum over l >= t of gamma^(l-t) r[l], [b, m, t+1] from [b, m, t]; the last, where nothing is left to come, is 0."""
    to_go = [torch.zeros_like(rewards[..., 0])]
    for t in reversed(range(rewards.shape[-1])):
        to_go.append(rewards[..., t] + gamma * to_go[-1])
    return torch.stack(to_go[::-1], dim=-1)


def position_specific(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """A[t] = G[t] - mean of G[t] over the prompt's rollouts that act at t, [b, m, t+1]; 0 where a rollout does not act, or acts alone."""
    count = acts.sum(1, keepdim=True)
    baseline = (to_go * acts).sum(1, keepdim=True) / count.clamp(min=1)
    return (to_go - baseline) * (acts & (count > 1))
