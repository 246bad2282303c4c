"""Stepwise reward centering (SRC): step rewards as deviations from their mean over a warm-up, so that one more step is worth 0 on average.

Source: ProRL (arXiv 2605.28293). Mean and sample standard deviation are accumulated online (Welford 1962, in the batch form of Chan,
Golub and LeVeque 1983) and then frozen.
"""

from dataclasses import dataclass

import torch

from prorl.config import RewardWeights
from prorl.rl.rewards import StepRewards

MIN_STD = 0.1
REWARDS = ("ctr", "ioi", "ior")


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
        return Moments(count, self.mean + delta * share, self.squares + other.squares + delta**2 * self.count * share)


def collected(rewards: StepRewards) -> dict[str, Moments]:
    """Moments of each step reward over real items that are no repeats."""
    counted = rewards.real & ~rewards.repeated
    return {name: Moments.of(getattr(rewards, name)[counted]) for name in REWARDS}


def standardised(values: torch.Tensor, moments: Moments) -> torch.Tensor:
    """z(x) = (x - mean) / max(std, 0.1)."""
    return (values - moments.mean.to(values.dtype)) / moments.std.clamp(min=MIN_STD).to(values.dtype)


def centered(rewards: StepRewards, moments: dict[str, Moments], weights: RewardWeights, max_length: int) -> torch.Tensor:
    """r~[t] = w_ctr / L_max z(ctr[t]) + w_ioi z(ioi[t]) + w_ior z(ior[t]), [b, m, t]; 0 behind the end of a path."""
    total = (
        weights.ctr / max_length * standardised(rewards.ctr, moments["ctr"])
        + weights.ioi * standardised(rewards.ioi, moments["ioi"])
        + weights.ior * standardised(rewards.ior, moments["ior"])
    )
    return total * rewards.real
