"""Residual quantisation: each level's code is the nearest vector of its codebook to what the levels before
left over.

    r[0] = x,   code[l] = argmin_c |r[l] - codebook[l][c]|^2,   r[l + 1] = r[l] - codebook[l][code[l]]

A codebook is [c, d]; levels may differ in c, since a level cannot use more codes than it has distinct
residuals.
Shape key: `n` items, `l` levels, `c` codes of a level, `d` components of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

CHUNK = 16384  # vectors compared with a codebook at a time


@dataclass(frozen=True)
class Quantised:
    """What a quantiser makes of vectors [n, d]: codes [n, l], their reconstruction [n, d], and the tensors
    worth keeping by name.
    """

    codes: np.ndarray
    reconstruction: np.ndarray
    tensors: dict[str, np.ndarray]


def squared_distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, c], less the square of each vector, which is the same for all codes."""
    return (codebook**2).sum(axis=1) - 2 * vectors @ codebook.T


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The code [n] of the nearest vector of `codebook`, the lowest of equals."""
    starts = range(0, len(vectors), CHUNK)
    return np.concatenate(
        [squared_distances(vectors[start : start + CHUNK], codebook).argmin(axis=1) for start in starts]
    )


def residual_codes(vectors: np.ndarray, codebooks: Sequence[np.ndarray], balanced: bool) -> np.ndarray:
    """Codes [n, l] of `vectors`; with `balanced`, the last level by `told_apart` instead of by nearness
    alone.
    """
    residuals, levels = np.asarray(vectors, dtype=np.float32), []
    for codebook in codebooks:
        levels.append(nearest(residuals, codebook))
        if balanced and len(levels) == len(codebooks):
            levels[-1] = told_apart(residuals, codebook, np.stack(levels, axis=1))
        residuals = residuals - codebook[levels[-1]]
    return np.stack(levels, axis=1)


def told_apart(residuals: np.ndarray, codebook: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Last codes [n] that tell apart items with the same leading codes, at the least total squared distance.

    Only groups in which the nearest codes `codes` [n, l] collide change. In a group of m items, more than
    there are codes, no code is used more than ceil(m / c) times. Source: the uniform semantic mapping of
    LC-Rec (Zheng et al., 2024), solved exactly per group.
    """
    last = codes[:, -1].copy()
    _, group = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(np.unique(last[members])) == len(members):
            continue
        n_copies = -(-len(members) // len(codebook))
        cost = np.tile(squared_distances(residuals[members], codebook), (1, n_copies))
        rows, columns = linear_sum_assignment(cost)
        last[members[rows]] = columns % len(codebook)
    return last


def reconstruct(codes: np.ndarray, codebooks: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of the codes' vectors, [n, d]; what is left of `vectors` minus this is the last residual."""
    return sum(codebook[codes[:, level]] for level, codebook in enumerate(codebooks))
