"""Step rewards: what each item of a path adds, from a simulator's scores at every prefix.

Source: ProRL (arXiv 2605.28293) and its released code. IoI and IoR increments sum to the path's metric. A
path may hold non-items (-1) where decoding is not constrained: the user does not see them, and they are
penalised.
Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from prorl.config.section import ConfigError
from prorl.simulators.protocol import Scores


@dataclass(frozen=True)
class Reward:
    """One kind of step reward.

    values: from paths' items [b, m, t] and their scores to rewards [b, m, t]; what it says of non-items and
    behind the end of a path does not count. per_step: it is averaged over a path, not summed, so that its
    weight is divided by the longest length. non_item: what a non-item gets, None for one below the batch's
    lowest. repeat: what a repeated item gets, None for what any item gets. measured: its curve and moments
    are kept even where it has no weight.
    """

    values: Callable[[torch.Tensor, Scores], torch.Tensor]
    per_step: bool = False
    non_item: float | None = None
    repeat: float | None = None
    measured: bool = False


def acceptance(items: torch.Tensor, scores: Scores) -> torch.Tensor:
    """ctr[t] = the probability that the user takes item t."""
    return scores.acceptance


def interest_gained(items: torch.Tensor, scores: Scores) -> torch.Tensor:
    """ioi[t] = log P(target | .. item t) - log P(target | .. item t-1)."""
    return scores.log_prob.diff(dim=-1)


def ranks_gained(items: torch.Tensor, scores: Scores) -> torch.Tensor:
    """ior[t] = rank of the target before item t - rank after it."""
    return -scores.rank.diff(dim=-1).to(scores.log_prob.dtype)


REWARDS: dict[str, Reward] = {
    "ctr": Reward(acceptance, per_step=True, non_item=-1.0, repeat=0.0, measured=True),
    "ioi": Reward(interest_gained, measured=True),
    "ior": Reward(ranks_gained, measured=True),
}


def rewards_with(weights: dict[str, float]) -> list[str]:
    """The rewards that take part under `weights`: those of some weight, and those measured anyway."""
    return [name for name, reward in REWARDS.items() if reward.measured or weights.get(name, 0.0) > 0]


def require_rewards(weights: dict[str, float]) -> None:
    """Raises `ConfigError` for a weight of what is no reward."""
    for name in weights:
        if name not in REWARDS:
            allowed = ", ".join(REWARDS)
            raise ConfigError(f"params.yaml: finetune.weights: got {name!r} (str), allowed: {allowed}")


@dataclass(frozen=True)
class StepRewards:
    """Raw step rewards by name, each [b, m, t], 0 behind the end of a path; `real` [b, m, t] marks its items,
    `repeated` those it held before.

    Non-items have no rewards and are not real until `penalised` makes them count.
    """

    values: dict[str, torch.Tensor]
    real: torch.Tensor
    repeated: torch.Tensor


def step_rewards(items: torch.Tensor, scores: Scores, names: list[str]) -> StepRewards:
    """Rewards `names` of paths `items` [b, m, t] (0 behind the end), from the scores at each position."""
    real, repeated = items > 0, repeats(items)
    values = {}
    for name in names:
        reward = REWARDS[name]
        values[name] = reward.values(items, scores).masked_fill(~real, 0.0)
        if reward.repeat is not None:
            values[name] = values[name].masked_fill(repeated, reward.repeat)
    return StepRewards(values, real, repeated)


def lowest(rewards: StepRewards) -> torch.Tensor:
    """The lowest of each reward [r] over real items, in their order; infinite where there is none."""
    return torch.stack(
        [values.masked_fill(~rewards.real, torch.inf).min() for values in rewards.values.values()]
    )


def penalised(rewards: StepRewards, items: torch.Tensor, lowest: torch.Tensor) -> StepRewards:
    """`rewards` with their penalties at the non-items of `items`, which then count.

    `lowest` [r] is that of the whole batch; where the batch has no item at all, it counts as 0.
    """
    non_item = items < 0
    below = torch.where(lowest.isinf(), 0.0, lowest) - 1
    values = {}
    for (name, own), worst in zip(rewards.values.items(), below, strict=True):
        penalty = REWARDS[name].non_item
        values[name] = torch.where(
            non_item, worst if penalty is None else torch.full_like(worst, penalty), own
        )
    return replace(rewards, values=values, real=rewards.real | non_item)


def repeats(items: torch.Tensor) -> torch.Tensor:
    """Which items [.., t] stood earlier in the same path; padding (0) and non-items never."""
    same = items[..., :, None] == items[..., None, :]
    return same.tril(diagonal=-1).any(-1) & (items > 0)
