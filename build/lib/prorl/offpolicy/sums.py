"""An estimator as a function of sums over requests, and its interval, which follows from that alone.

A mean is a sum divided by a count, a self-normalised estimate a ratio of two sums, and a control variate's
coefficient a ratio of two more. So the bootstrap and the jackknife compute the *whole* estimator anew for
each of their samples, its denominator and coefficients included.

Shape key: `n` requests, `m` sums, `u` users, `r` resamples, `p` weights of a request; `..` any leading
dimensions, such as independent logs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from prorl.errors import DataError
from prorl.metrics.intervals import LEVEL

NUMBERS_AT_ONCE = 4_000_000  # of users' weights, about 30 MB
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


@dataclass(frozen=True)
class Sums:
    """An estimator: `terms` [.., n, m] of requests, what `estimate` makes of their sums [.., m], and the
    `weights` [.., n, p] of requests: one each, or that of every prefix of a path.

    `estimate` gives NaN where the sums allow no estimate.
    """

    terms: np.ndarray
    estimate: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The estimate [..]."""
        return self.estimate(self.terms.sum(-2))

    @property
    def n_effective(self) -> np.ndarray:
        """(sum w)^2 / sum w^2 [..], the smallest of the p: so many requests of equal weight estimate a mean
        as well (Kish 1965). 0 where all weights are 0.
        """
        squares = (self.weights**2).sum(-2)
        return ratio(self.weights.sum(-2) ** 2, squares, where_none=0.0).min(-1)

    @property
    def largest_weight(self) -> np.ndarray:
        """The largest weight [..]."""
        return self.weights.max((-1, -2))


def ratio(above: np.ndarray, below: np.ndarray, where_none: float = np.nan) -> np.ndarray:
    """`above / below`, and `where_none` where `below` is not above 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    return np.divide(above, below, out=np.full(above.shape, where_none), where=below > 0)


def mean_of(values: np.ndarray, weights: np.ndarray) -> Sums:
    """The mean over requests of `values` [.., n]; `weights` as those of `Sums`."""
    terms = np.stack([values, np.ones_like(values)], axis=-1)
    return Sums(terms, lambda sums: sums[..., 0] / sums[..., 1], weights)


def bootstrap(sums: Sums, user: np.ndarray, n_resamples: int, seed: int) -> tuple[float, float]:
    """The 95% interval of percentiles (Efron 1979) over resamples of the users [n] behind the requests.

    A resample whose sums allow no estimate counts as below and above all others: such an interval may be
    unbounded. Raises `DataError` for fewer than two users.
    """
    per_user = _per_user(sums, user)
    values = np.concatenate(
        [sums.estimate(weights @ per_user) for weights in _resamples(len(per_user), n_resamples, seed)]
    )
    low = np.quantile(np.where(np.isnan(values), -np.inf, values), TAILS[0], method="lower")
    high = np.quantile(np.where(np.isnan(values), np.inf, values), TAILS[1], method="higher")
    return float(low), float(high)


def jackknife(sums: Sums, user: np.ndarray) -> tuple[float, float]:
    """The 95% interval of Student's t with the standard error of the jackknife (Tukey 1958), which leaves out
    one of the users [n] at a time.

    Unbounded where the estimate does not exist without some user. Raises `DataError` for fewer than two
    users.
    """
    per_user = _per_user(sums, user)
    n = len(per_user)
    without = sums.estimate(per_user.sum(0) - per_user)
    if np.isnan(without).any():
        return -np.inf, np.inf
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    reach = float(stdtrit(n - 1, TAILS[1]) * error)
    return float(sums.value) - reach, float(sums.value) + reach


def _per_user(sums: Sums, user: np.ndarray) -> np.ndarray:
    """The sums [u, m] of each user's requests."""
    _, group = np.unique(user, return_inverse=True)
    n_users = int(group.max()) + 1
    if n_users < 2:
        raise DataError(f"an interval needs requests of 2 users or more; got {n_users}")
    return np.stack([np.bincount(group, weights=column) for column in sums.terms.T], axis=1)


def _resamples(n_users: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user was drawn, [r, u], some resamples at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, NUMBERS_AT_ONCE // n_users)
    for start in range(0, n_resamples, at_once):
        size = min(at_once, n_resamples - start)
        yield generator.multinomial(n_users, np.full(n_users, 1 / n_users), size=size).astype(np.float64)
