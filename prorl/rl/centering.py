"""Stepwise reward centering (SRC): takes from step rewards their mean over a warm-up, so that one more step
is worth 0 on average.

Source: ProRL (arXiv 2605.28293). Mean and sample standard deviation are accumulated online (Welford 1962, in
the batch form of Chan, Golub and LeVeque 1983) and then frozen, or, under `running`, never frozen. Without
centering (`none`, `fixed_offset`) rewards are still divided by their standard deviation: an IoR counts ranks,
and would drown the others.

`averaged` is ours. A path's CTR and Coherence are means over its items, and a step at the mean leaves them
as they are: less their mean, it is worth 0. A path's IoI and IoR are sums, and a step adds what it gains,
however little: less the mean of all steps, of which the first gain most, a late step that gains something is
worth less than none, and paths end early. So only what a path averages is centred.
Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

import functools
from dataclasses import dataclass

import torch

from prorl.rl.rewards import REWARDS, StepRewards

MIN_STD = 0.1


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of the values seen, as float64 scalars."""

    count: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor) -> "Moments":
        """The moments of `values` [r]; of none where there are none."""
        values = values.double()
        count = torch.tensor(float(values.numel()), dtype=torch.float64, device=values.device)
        mean = values.sum() / count.clamp(min=1)
        return cls(count, mean, ((values - mean) ** 2).sum())

    @property
    def std(self) -> torch.Tensor:
        """Sample standard deviation (n - 1)."""
        return (self.squares / (self.count - 1).clamp(min=1)).sqrt()

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets of values together."""
        count = self.count + other.count
        delta = other.mean - self.mean
        share = other.count / count.clamp(min=1)
        return Moments(
            count, self.mean + delta * share, self.squares + other.squares + delta**2 * self.count * share
        )


def collected(rewards: StepRewards) -> dict[str, Moments]:
    """Moments of each step reward over the real items that have it and are no repeats."""
    return {
        name: Moments.of(values[rewards.counted(name) & ~rewards.repeated])
        for name, values in rewards.values.items()
    }


def scaled(values: torch.Tensor, moments: Moments) -> torch.Tensor:
    """x / max(std, 0.1)."""
    return values / moments.std.clamp(min=MIN_STD).to(values.dtype)


def standardised(values: torch.Tensor, moments: Moments) -> torch.Tensor:
    """z(x) = (x - mean) / max(std, 0.1)."""
    return scaled(values - moments.mean.to(values.dtype), moments)


def centered(
    rewards: StepRewards,
    moments: dict[str, Moments],
    weights: dict[str, float],
    max_length: int,
    *,
    averaged_alone: bool = False,
) -> torch.Tensor:
    """r~[t] = w_ctr / L_max z(ctr[t]) + w_ioi z(ioi[t]) + w_ior z(ior[t]) and so on over the rewards there
    are, [b, m, t]; 0 behind the end of a path. With `averaged_alone`, z of a reward that adds up along a path
    is x / max(std, 0.1).
    """
    z = {}
    for name, values in rewards.values.items():
        normalised = scaled if averaged_alone and not REWARDS[name].per_step else standardised
        z[name] = normalised(values, moments[name]) * rewards.counted(name)
    return weighted(z, weights, max_length) * rewards.real


def uncentered(
    rewards: StepRewards,
    moments: dict[str, Moments],
    weights: dict[str, float],
    max_length: int,
    offset: float = 0.0,
) -> torch.Tensor:
    """The weighted sum of x / max(std, 0.1) less `offset`, [b, m, t]; 0 behind the end of a path.

    The paper's alternative to SRC: one constant, found by trial, in place of the mean.
    """
    x = {
        name: scaled(values, moments[name]) * rewards.counted(name) for name, values in rewards.values.items()
    }
    return (weighted(x, weights, max_length) - offset) * rewards.real


def weighted(values: dict[str, torch.Tensor], weights: dict[str, float], max_length: int) -> torch.Tensor:
    """The sum of w x over rewards x [b, m, t] by name, in their order, w being 0 where none is given.

    The weight of a reward that is averaged over a path is divided by L_max.
    """
    terms = []
    for name, x in values.items():
        weight = weights.get(name, 0.0)
        terms.append((weight / max_length if REWARDS[name].per_step else weight) * x)
    return functools.reduce(torch.add, terms)
