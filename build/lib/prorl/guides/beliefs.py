"""What an arm is worth, believed from partly revealed traces.

Source: McDonald et al., "Impatient Bandits: Optimizing Recommendations for the Long-Term Without Delay", KDD
2023, arXiv 2307.09943 (journal: arXiv 2501.07761). An arm's users each yield a trace that is revealed day by
day. Past arms give the prior: mean m, covariance S between arms, covariance N within an arm. With k days
seen, n_j users seen on day j and mean trace x:

    E = N[:k, :k] / max(n_i, n_j)          gain = S[:, :k] (S[:k, :k] + E)^-1
    mean = m + gain (x - m[:k])            covariance = S - gain S[:k, :]

What an arm is worth is a Normal by the sum of both over what counts. Thompson sampling draws once for each
arm, and takes the best.

Shape key: `a` past arms, `u` users, `w` days of a trace, `k` days seen.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Belief:
    """What is believed of an arm's mean trace: a Normal with mean [w] and covariance [w, w]."""

    mean: np.ndarray
    covariance: np.ndarray

    def of(self, counted: np.ndarray) -> tuple[float, float]:
        """Mean and variance of what the arm is worth: the sum of its trace, as `counted` [w]."""
        return float(counted @ self.mean), float(counted @ self.covariance @ counted)


@dataclass(frozen=True)
class Prior:
    """What is known before: mean [w], and covariances [w, w] between arms and within one."""

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, traces: np.ndarray) -> Self:
        """That of past arms with the same number of users, `traces` [a, u, w].

        The covariance between arms is that of their means, less what the users within account for; where that
        leaves a negative variance in some direction, it is 0 there.
        """
        a, u, _ = traces.shape
        means = traces.mean(1)
        centred = traces - means[:, None]
        within = np.einsum("auv,auw->vw", centred, centred) / (a * (u - 1))
        between = np.cov(means, rowvar=False) - within / u
        values, directions = np.linalg.eigh(between)
        return cls(means.mean(0), (directions * values.clip(0)) @ directions.T, within)

    def after(self, mean_trace: np.ndarray, n_users: np.ndarray) -> Belief:
        """The belief once `n_users` [k] users were seen on each day, with this mean trace [k]."""
        k = len(mean_trace)
        if k == 0:
            return Belief(self.mean, self.between)
        noise = self.within[:k, :k] / np.maximum(n_users[:, None], n_users[None])
        spread = self.between[:k, :k] + noise + 1e-9 * np.eye(k)  # days that never vary
        gain = np.linalg.solve(spread, self.between[:k]).T
        mean = self.mean + gain @ (mean_trace - self.mean[:k])
        return Belief(mean, self.between - gain @ self.between[:k])


def explained(prior: Prior, counted: np.ndarray, n_users: int) -> list[float]:
    """The share of the variance between arms that the first 1, 2, .. days of `n_users` users explain, [w]."""
    before = counted @ prior.between @ counted
    shares = []
    for k in range(1, len(counted) + 1):
        left = prior.after(prior.mean[:k], np.full(k, n_users)).of(counted)[1]
        shares.append(float(1 - left / before) if before > 0 else 0.0)
    return shares
