"""Estimates for slates: requests at which K items were shown at once, with one reward R for all.

Y_k = pi_k(a_k) / mu_k(a_k) is the weight of slot k, G = 1 + sum over k of (Y_k - 1) that of the slate. All
need a logging policy that filled each slot independently of the others, that may show in each slot whatever
the target policy may, and a reward that is a sum over slots (any function of slot and context each). For
slates of one, PI is IPS, wPI is SNIPS, and the two control variates are one. None of them is doubly robust:
there is no model of the reward.

Sources: PI Swaminathan et al. 2017; control variates Vlassis et al. 2021 (arXiv 2106.07914).
Shape key: `n` requests, `K` slots; `..` any leading dimensions, such as independent logs.
"""

import numpy as np

from prorl.offpolicy.sums import Sums, mean_of, ratio


def slate_weights(ratios: np.ndarray) -> np.ndarray:
    """G [.., n] from Y [.., n, K]; it may be negative."""
    return 1 + (ratios - 1).sum(-1)


def pi(ratios: np.ndarray, rewards: np.ndarray) -> Sums:
    """Pseudo-inverse: mean of G R, from Y [.., n, K] and rewards [.., n]. Unbiased."""
    weights = slate_weights(ratios)
    return mean_of(weights * rewards, weights[..., None])


def wpi(ratios: np.ndarray, rewards: np.ndarray) -> Sums:
    """Weighted pseudo-inverse: sum of G R / sum of G, from Y [.., n, K] and rewards [.., n].

    NaN where the sum of G is not above 0, which happens when there are many slots and few requests.
    """
    weights = slate_weights(ratios)
    terms = np.stack(np.broadcast_arrays(weights * rewards, weights), axis=-1)
    return Sums(terms, lambda sums: ratio(sums[..., 0], sums[..., 1]), weights[..., None])


def pi_single(ratios: np.ndarray, rewards: np.ndarray) -> Sums:
    """PI with one control variate: mean of G R - b mean of (G - 1), from Y [.., n, K] and rewards [.., n].

    b = sum of G R (G - 1) / sum over requests and slots of (Y_k - 1)^2, which has the least variance where
    slots are independent; 0 where no weight differs from 1.
    """
    weights = slate_weights(ratios)
    excess, squares = weights - 1, ((ratios - 1) ** 2).sum(-1)
    weighted = weights * rewards
    terms = np.stack([weighted, excess, weighted * excess, squares, np.ones_like(weighted)], axis=-1)

    def estimate(sums: np.ndarray) -> np.ndarray:
        coefficient = ratio(sums[..., 2], sums[..., 3], where_none=0.0)
        return (sums[..., 0] - coefficient * sums[..., 1]) / sums[..., 4]

    return Sums(terms, estimate, weights[..., None])


def pi_multiple(ratios: np.ndarray, rewards: np.ndarray) -> Sums:
    """PI with a control variate for each slot: mean of G R - sum over k of w_k mean of (Y_k - 1), from Y
    [.., n, K] and rewards [.., n].

    w_k = sum of G R (Y_k - 1) / sum of (Y_k - 1)^2, 0 where no Y_k differs from 1. As they are estimated from
    the same requests, there is a bias that vanishes as 1/n.
    """
    weights, excess = slate_weights(ratios), ratios - 1
    weighted = (weights * rewards)[..., None]
    terms = np.concatenate([weighted, np.ones_like(weighted), excess, weighted * excess, excess**2], axis=-1)
    n_slots = ratios.shape[-1]

    def estimate(sums: np.ndarray) -> np.ndarray:
        own, products, squares = (sums[..., 2 + n_slots * i : 2 + n_slots * (i + 1)] for i in range(3))
        coefficients = ratio(products, squares, where_none=0.0)
        return (sums[..., 0] - (coefficients * own).sum(-1)) / sums[..., 1]

    return Sums(terms, estimate, weights[..., None])
