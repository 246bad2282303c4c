"""Estimates for paths: items chosen one after another, each with a reward of its own.

rho_t = pi(a_t | a_1..t-1) / mu(a_t | a_1..t-1) is the ratio of a step, w_1:t = rho_1 .. rho_t the weight of a
prefix. The value is the expected sum of rewards over a path. A user takes the items in their order: the
reward at t depends on the items up to t, not on later ones. Stopping earns nothing, so that a path's stop
needs no ratio of its own.

Shape key: `n` requests, `t` path position; `..` any leading dimensions, such as independent logs.
"""

from dataclasses import dataclass

import numpy as np

from prorl.errors import DataError
from prorl.offpolicy.sums import Sums, mean_of


def prefix_weights(ratios: np.ndarray) -> np.ndarray:
    """w_1:t [.., n, t] from the ratios rho_t [.., n, t], which are 1 behind the end of a path."""
    return ratios.cumprod(-1)


def per_decision_ips(ratios: np.ndarray, rewards: np.ndarray) -> Sums:
    """Per-decision inverse propensity scoring: mean of sum over t of w_1:t r_t, from ratios and rewards
    [.., n, t], which are 1 and 0 behind the end of a path.

    Unbiased. Precup et al. 2000; for slates with an order, McInerney et al. 2020 (RIPS).
    """
    weights = prefix_weights(ratios)
    return mean_of((weights * rewards).sum(-1), weights)


@dataclass(frozen=True)
class Values:
    """What a model of rewards expects: `logged` [.., n, t], Q of the logged items, 0 behind the end of a
    path; `expected` [.., n, t + 1], the mean of Q over what the target policy might do at each position (a
    stop has Q = 0), 0 where the logging policy chose nothing.

    Q(prefix, item) is best the expected sum of rewards from this item on, under the target policy.
    """

    logged: np.ndarray
    expected: np.ndarray

    @classmethod
    def of_distributions(
        cls, q: np.ndarray, probabilities: np.ndarray, items: np.ndarray, acts: np.ndarray
    ) -> "Values":
        """From Q and the target policy's probabilities [.., n, t + 1, i], i items of which the first is item
        1, at the prefixes of logged paths `items` [.., n, t] (0 behind the end), and where the logging policy
        `acts` [.., n, t + 1].

        What probabilities lack to 1 is that of the stop. Raises `DataError` where they are no probabilities.
        """
        total = probabilities.sum(-1)[acts]
        if not ((probabilities >= 0).all() and (total <= 1 + 1e-6).all()):
            raise DataError(
                f"target policy: got probabilities from {probabilities.min():.4g} and sums up to "
                f"{total.max():.4g} at a position, allowed: 0 or above, and at most 1 in sum"
            )
        places = np.maximum(items - 1, 0)[..., None]
        logged = np.take_along_axis(q[..., :-1, :], places, axis=-1)[..., 0]
        return cls(logged * (items > 0), (q * probabilities).sum(-1) * acts)


def cascade_doubly_robust(ratios: np.ndarray, rewards: np.ndarray, values: Values) -> Sums:
    """Cascade doubly robust: mean of sum over t of [w_1:t (r_t - Q_t) + w_1:t-1 E_pi Q_t], from ratios and
    rewards [.., n, t], which are 1 and 0 behind the end of a path, and `values`.

    E_pi Q_t also counts where a path was stopped. Unbiased for any Q that was not fitted to this log; the
    better Q, the smaller the variance. Kiyohara et al. 2022; Jiang and Li 2016.
    """
    weights = prefix_weights(ratios)
    before = np.concatenate([np.ones_like(weights[..., :1]), weights], axis=-1)
    corrected = (weights * (rewards - values.logged)).sum(-1)
    return mean_of(corrected + (before * values.expected).sum(-1), weights)
