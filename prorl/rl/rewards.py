"""Step rewards: what each item of a path adds, from a simulator's scores at every prefix.

Source: ProRL (arXiv 2605.28293), section 5 of this project's method. IoI and IoR increments sum to the path's metric.
Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

from dataclasses import dataclass

import torch

from prorl.simulators.scoring import Scores


@dataclass(frozen=True)
class StepRewards:
    """Raw step rewards [b, m, t], 0 behind the end of a path; `real` [b, m, t] marks its items, `repeated` those it held before."""

    ctr: torch.Tensor
    ioi: torch.Tensor
    ior: torch.Tensor
    real: torch.Tensor
    repeated: torch.Tensor


def step_rewards(items: torch.Tensor, scores: Scores) -> StepRewards:
    """Rewards of paths `items` [b, m, t] (0 behind the end).

    ioi[t] = log P(target | .. item t) - log P(target | .. item t-1); ior[t] = rank before - rank after; ctr[t] = acceptance of item t.
    A repeated item keeps ioi and ior and gets ctr 0.
    """
    repeated = repeats(items)
    return StepRewards(
        ctr=scores.acceptance.masked_fill(repeated, 0.0),
        ioi=scores.log_prob.diff(dim=-1),
        ior=-scores.rank.diff(dim=-1).to(scores.log_prob.dtype),
        real=items != 0,
        repeated=repeated,
    )


def repeats(items: torch.Tensor) -> torch.Tensor:
    """Which items [.., t] stood earlier in the same path; padding (0) never."""
    same = items[..., :, None] == items[..., None, :]
    return same.tril(diagonal=-1).any(-1) & (items != 0)
