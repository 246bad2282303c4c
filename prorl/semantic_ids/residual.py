"""Residual quantisation: each level quantises what the levels before it left over.

    r[0] = x,   code[l] = argmin_c |r[l] - codebook[l][c]|^2,   r[l + 1] = r[l] - codebook[l][code[l]]

The code of a level is the nearest vector of its codebook [c, d]. Levels may differ in c, since a level cannot
use more codes than it has distinct residuals.

Shape key: `n` items, `l` levels, `c` codes of a level, `d` components of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from prorl.items.matrices import CHUNK


@dataclass(frozen=True)
class Quantised:
    """What a quantiser makes of vectors [n, d].

    codes [n, l]; reconstruction [n, d] of the vectors from the codes; tensors to keep, by name. Of vectors
    that are read part by part there is no reconstruction, but its `error`, as `reconstruction_error` has it.
    """

    codes: np.ndarray
    reconstruction: np.ndarray | None
    tensors: dict[str, np.ndarray]
    error: float | None = None


class Rows(Protocol):
    """Vectors [n, d], of which those at `places` [m] are given as float32 [m, d]."""

    def __getitem__(self, places: np.ndarray, /) -> np.ndarray: ...


def squared_distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, c] to `codebook`, without the vectors' own squares.

    Those are the same for all codes.
    """
    return (codebook**2).sum(axis=1) - 2 * vectors @ codebook.T


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The code [n] of the nearest vector of `codebook`; among equals the lowest."""
    starts = range(0, len(vectors), CHUNK)
    return np.concatenate(
        [squared_distances(vectors[start : start + CHUNK], codebook).argmin(axis=1) for start in starts]
    )


def residual_codes(vectors: np.ndarray, codebooks: Sequence[np.ndarray], balanced: bool) -> np.ndarray:
    """Codes [n, l] of `vectors`; with `balanced`, the codes of the last level are `distinct_last_codes`."""
    residuals, levels = np.asarray(vectors, dtype=np.float32), []
    for codebook in codebooks:
        levels.append(nearest(residuals, codebook))
        if balanced and len(levels) == len(codebooks):
            levels[-1] = distinct_last_codes(residuals, codebook, np.stack(levels, axis=1))
        residuals = residuals - codebook[levels[-1]]
    return np.stack(levels, axis=1)


def distinct_last_codes(residuals: Rows, codebook: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Last codes [n] that differ among items with the same leading codes, at the least squared distance.

    codes [n, l]: the nearest ones. Only groups of items in which they collide change. In a group of more
    items than codes, of m items, each code is used at most ceil(m / c) times. Source: the uniform semantic
    mapping of LC-Rec (Zheng et al., 2024), solved exactly per group.
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
    """The sum of the codes' vectors, [n, d]; the vectors less this sum are the last residuals."""
    return np.asarray(sum(codebook[codes[:, level]] for level, codebook in enumerate(codebooks)))
