"""95% bootstrap intervals of means over prompts, resampling *users*, since a user has several prompts.

Percentile bootstrap (Efron 1979). The same resamples serve all metrics, and the difference of two guides on
the same prompts.
"""

from collections.abc import Mapping
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

    def difference(self, values: np.ndarray) -> dict[str, float]:
        """`mean` of paired differences [p], and "p": twice the share of resamples that lie on 0 or on its
        rarer side, one resample more counted as such (Davison and Hinkley 1997).
        """
        means = self.means(values)
        beyond = min((means <= 0).sum(), (means >= 0).sum())
        return self.mean(values) | {"p": float(min(1.0, 2 * (beyond + 1) / (len(means) + 1)))}

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of `values` [p] in each resample, [resamples]."""
        sums = np.bincount(self.group, weights=values)
        counts = np.bincount(self.group).astype(np.float64)
        return (self.weights @ sums) / (self.weights @ counts)


def interval(value: SupportsFloat, resampled: np.ndarray) -> dict[str, float]:
    """A `value` and the 95% interval of what it is in each resample: `{"mean", "low", "high"}`."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"mean": float(value), "low": float(low), "high": float(high)}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """`p_values` of several comparisons, adjusted for their number (Holm 1979): the smallest times the number
    of them, the next times one less, and none below the one before it.
    """
    adjusted, before = {}, 0.0
    for i, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        before = max(before, min(1.0, (len(p_values) - i) * p_values[name]))
        adjusted[name] = before
    return {name: adjusted[name] for name in p_values}
