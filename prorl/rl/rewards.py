"""Step rewards: what each item of a path adds, from a simulator's scores at every prefix.

Source: ProRL (arXiv 2605.28293) and its released code. IoI and IoR increments sum to the path's metric. A
path may hold non-items (-1) where decoding is not constrained: the user does not see them, and they are
penalised.
Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

from dataclasses import dataclass, replace

import torch

from prorl.simulators.scoring import Scores


@dataclass(frozen=True)
class StepRewards:
    """Raw step rewards [b, m, t], 0 behind the end of a path; `real` [b, m, t] marks its items, `repeated`
    those it held before.

    Non-items have no rewards and are not real until `penalised` makes them count.
    """

    ctr: torch.Tensor
    ioi: torch.Tensor
    ior: torch.Tensor
    real: torch.Tensor
    repeated: torch.Tensor


def step_rewards(items: torch.Tensor, scores: Scores) -> StepRewards:
    """Rewards of paths `items` [b, m, t] (0 behind the end), from the scores at each position.

    ioi[t] = log P(target | .. item t) - log P(target | .. item t-1); ior[t] = rank before - rank after;
    ctr[t] = acceptance of item t. A repeated item keeps ioi and ior and gets ctr 0.
    """
    repeated = repeats(items)
    return StepRewards(
        ctr=scores.acceptance.masked_fill(repeated, 0.0),
        ioi=scores.log_prob.diff(dim=-1),
        ior=-scores.rank.diff(dim=-1).to(scores.log_prob.dtype),
        real=items > 0,
        repeated=repeated,
    )


def lowest(rewards: StepRewards) -> torch.Tensor:
    """The lowest IoI and IoR of a real item, [2]; infinite where there is none."""
    return torch.stack([x.masked_fill(~rewards.real, torch.inf).min() for x in (rewards.ioi, rewards.ior)])


def penalised(rewards: StepRewards, items: torch.Tensor, lowest: torch.Tensor) -> StepRewards:
    """`rewards` with CTR -1 at the non-items of `items`, and IoI and IoR one below the `lowest` [2] of the
    whole batch, which then count.

    Where the batch has no item at all, one below 0.
    """
    non_item = items < 0
    ioi, ior = torch.where(lowest.isinf(), 0.0, lowest) - 1
    return replace(
        rewards,
        ctr=rewards.ctr.masked_fill(non_item, -1.0),
        ioi=torch.where(non_item, ioi, rewards.ioi),
        ior=torch.where(non_item, ior, rewards.ior),
        real=rewards.real | non_item,
    )


def repeats(items: torch.Tensor) -> torch.Tensor:
    """Which items [.., t] stood earlier in the same path; padding (0) and non-items never."""
    same = items[..., :, None] == items[..., None, :]
    return same.tril(diagonal=-1).any(-1) & (items > 0)
