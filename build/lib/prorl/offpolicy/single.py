"""Estimates for requests at which one item was shown.

Shape key: `n` requests; `..` any leading dimensions, such as independent logs.
"""

import numpy as np

from prorl.offpolicy.sums import Sums, mean_of, ratio


def ips(weights: np.ndarray, rewards: np.ndarray) -> Sums:
    """Inverse propensity scoring: mean of w r, from weights w = pi(a) / mu(a) and rewards, both [.., n]
    (Horvitz and Thompson 1952).

    Unbiased where the logging policy mu may show whatever the target policy pi may.
    """
    return mean_of(weights * rewards, weights[..., None])


def snips(weights: np.ndarray, rewards: np.ndarray) -> Sums:
    """Self-normalised: sum of w r / sum of w, from weights and rewards [.., n] (Swaminathan and Joachims
    2015).

    Always between the smallest and the largest reward; a constant added to all rewards is added to it. Its
    bias vanishes as 1/n. NaN where all weights are 0.
    """
    terms = np.stack(np.broadcast_arrays(weights * rewards, weights), axis=-1)
    return Sums(terms, lambda sums: ratio(sums[..., 0], sums[..., 1]), weights[..., None])
