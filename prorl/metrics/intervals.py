"""95% bootstrap intervals of means over prompts, resampling *users*, since a user has several prompts.

Percentile bootstrap (Efron 1979). The same resamples serve all metrics, and the difference of two guides on
the same prompts.
"""

from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class UserBootstrap:
    """Resamples of users: weights [resamples, u], how often each user was drawn; group [p], the user of each
    prompt.
    """

    weights: np.ndarray
    group: np.ndarray

    @classmethod
    def of_users(cls, user: np.ndarray, n_resamples: int, seed: int) -> "UserBootstrap":
        """Resamples of the users [p] behind some prompts."""
        _, group = np.unique(user, return_inverse=True)
        n_users = int(group.max()) + 1
        weights = np.random.default_rng(seed).multinomial(
            n_users, np.full(n_users, 1 / n_users), size=n_resamples
        )
        return cls(weights.astype(np.float64), group)

    def mean(self, values: np.ndarray) -> dict[str, float]:
        """Mean of `values` [p] over prompts and its 95% interval: `{"mean", "low", "high"}`."""
        return interval(np.mean(values), self.means(values))

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of `values` [p] in each resample, [resamples]."""
        sums = np.bincount(self.group, weights=values)
        counts = np.bincount(self.group).astype(np.float64)
        return (self.weights @ sums) / (self.weights @ counts)


def interval(value: SupportsFloat, resampled: np.ndarray) -> dict[str, float]:
    """A `value` and the 95% interval of what it is in each resample: `{"mean", "low", "high"}`."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"mean": float(value), "low": float(low), "high": float(high)}
