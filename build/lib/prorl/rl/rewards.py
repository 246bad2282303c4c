"""Step rewards: what each item of a path adds, from a simulator's scores at every prefix and the items'
attributes.

Source: ProRL (arXiv 2605.28293) and its released code; `coherence` is this project's. IoI and IoR increments
sum to the path's metric. A path may hold non-items (-1) where decoding is not constrained: the user does not
see them, and they are penalised.
Shape key: `b` prompts, `m` rollouts, `t` path position, `n` items, `w` words of attribute bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from prorl.config.section import ConfigError
from prorl.simulators.protocol import Scores


@dataclass(frozen=True)
class RatedPaths:
    """What a reward may know of paths: their items [b, m, t] (0 behind the end), the target [b] and the
    simulator's scores of them, and all items' attributes as bits, int64 [n+1, w].
    """

    items: torch.Tensor
    target: torch.Tensor
    scores: Scores
    attribute_words: torch.Tensor


@dataclass(frozen=True)
class Reward:
    """One kind of step reward.

    values: from paths to rewards [b, m, t]; what it says of non-items and behind the end of a path does not
    count. per_step: it is averaged over a path, not summed, so that its weight is divided by the longest
    length. from_second: a path's first item has none. non_item: what a non-item gets, None for one below the
    batch's lowest. repeat: what a repeated item gets, None for what any item gets. measured: its curve and
    moments are kept even where it has no weight.
    """

    values: Callable[[RatedPaths], torch.Tensor]
    per_step: bool = False
    from_second: bool = False
    non_item: float | None = None
    repeat: float | None = None
    measured: bool = False


def acceptance(paths: RatedPaths) -> torch.Tensor:
    """ctr[t] = the probability that the user takes item t."""
    return paths.scores.acceptance


def interest_gained(paths: RatedPaths) -> torch.Tensor:
    """ioi[t] = log P(target | .. item t) - log P(target | .. item t-1)."""
    return paths.scores.log_prob.diff(dim=-1)


def ranks_gained(paths: RatedPaths) -> torch.Tensor:
    """ior[t] = rank of the target before item t - rank after it."""
    return -paths.scores.rank.diff(dim=-1).to(paths.scores.log_prob.dtype)


def coherent_pairs(paths: RatedPaths) -> torch.Tensor:
    """coherence[t] = whether item t shares an attribute with item t-1; the last item's is 1 more where it
    also shares one with the target.

    Over a path of several items they sum to its coherent pairs, the target's included, as the metric counts
    them. Rewarded from the second item on, it leaves out the one pair of a path of a single item.
    """
    items, words = paths.items, paths.attribute_words
    own = words[items.clamp(min=0)]
    before = torch.cat([torch.zeros_like(own[:, :, :1]), own[:, :, :-1]], dim=2)
    is_last = (items != 0) & (torch.cat([items[..., 1:], torch.zeros_like(items[..., :1])], dim=-1) == 0)
    with_item = ((own & before) != 0).any(-1)
    with_target = ((own & words[paths.target][:, None, None]) != 0).any(-1)
    return (with_item.int() + (with_target & is_last).int()).to(paths.scores.log_prob.dtype)


REWARDS: dict[str, Reward] = {
    "ctr": Reward(acceptance, per_step=True, non_item=-1.0, repeat=0.0, measured=True),
    "ioi": Reward(interest_gained, measured=True),
    "ior": Reward(ranks_gained, measured=True),
    "coherence": Reward(coherent_pairs, per_step=True, from_second=True, non_item=0.0),
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

    def counted(self, name: str) -> torch.Tensor:
        """The items [b, m, t] that have the reward `name` at all."""
        if not REWARDS[name].from_second:
            return self.real
        return self.real & (torch.arange(self.real.shape[-1], device=self.real.device) > 0)


def step_rewards(paths: RatedPaths, names: list[str]) -> StepRewards:
    """Rewards `names` of `paths`."""
    real, repeated = paths.items > 0, repeats(paths.items)
    values = {}
    for name in names:
        reward = REWARDS[name]
        values[name] = reward.values(paths).masked_fill(~real, 0.0)
        if reward.repeat is not None:
            values[name] = values[name].masked_fill(repeated, reward.repeat)
    return StepRewards(values, real, repeated)


def lowest(rewards: StepRewards) -> torch.Tensor:
    """The lowest of each reward [r] over real items that are no repeats, in their order; infinite where there
    is none.
    """
    left_out = ~rewards.real | rewards.repeated
    return torch.stack([values.masked_fill(left_out, torch.inf).min() for values in rewards.values.values()])


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
