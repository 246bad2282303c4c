"""How good semantic IDs are: collisions, even use of codes, reconstruction error, and meaning of codes.

Shape key: `n` items, `l` levels, `d` components of a vector.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.preprocessing import MultiLabelBinarizer

from prorl.runtime import derived_seed
from prorl.semantic_ids.residual import Quantised

N_PAIRS = 200_000  # sampled for an attribute overlap


def perplexity(codes: np.ndarray) -> float:
    """The exponential of the entropy of `codes` [n]: that many codes, used evenly, have the same entropy."""
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def code_statistics(codes: np.ndarray) -> dict[str, Any]:
    """Collisions among quantiser codes [n, l], and per level the number of used codes and their perplexity.

    The codes come without the final code.
    """
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    levels = {
        f"level_{level + 1}": {
            "used_codes": len(np.unique(codes[:, level])),
            "perplexity": perplexity(codes[:, level]),
        }
        for level in range(codes.shape[1])
    }
    return {
        **levels,
        "items": len(codes),
        "distinct_share": len(sizes) / len(codes),
        "largest_group": int(sizes.max()),
    }


def quantised_error(vectors: np.ndarray, quantised: Quantised) -> float | None:
    """`reconstruction_error` of what a quantiser made of `vectors` [n, d]."""
    if quantised.reconstruction is None:
        return quantised.error
    return reconstruction_error(vectors, quantised.reconstruction)


def reconstruction_error(vectors: np.ndarray, reconstruction: np.ndarray) -> float:
    """The share of the variance of `vectors` [n, d] that `reconstruction` [n, d] loses.

    It is the squared distance of the reconstruction from the vectors over that of their mean.
    """
    lost = ((vectors - reconstruction) ** 2).sum(dtype=np.float64)
    return float(lost / ((vectors - vectors.mean(axis=0)) ** 2).sum(dtype=np.float64))


def attribute_overlap(
    attributes: Sequence[Sequence[str]], groups: np.ndarray, rng: np.random.Generator
) -> float | None:
    """Mean Jaccard overlap of the attributes of two different items of the same group.

    groups: [n]. Plainly: the mean of `len(a & b) / len(a | b)` over all pairs of attribute sets a, b in a
    group; here over `N_PAIRS` pairs drawn at random. Two items without attributes overlap by 0. None if no
    two items share a group.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups.min(initial=0) - 1))
    sizes = np.diff(starts, append=len(groups))
    weights = (sizes * (sizes - 1)).astype(np.float64)  # ordered pairs in a group
    if not weights.sum():
        return None
    group = rng.choice(len(sizes), size=N_PAIRS, p=weights / weights.sum())
    one = rng.integers(sizes[group])
    other = (one + 1 + rng.integers(sizes[group] - 1)) % sizes[group]
    one, other = order[starts[group] + one], order[starts[group] + other]
    held = csr_array(MultiLabelBinarizer(sparse_output=True).fit_transform(attributes), dtype=np.int32)
    counts = held.sum(axis=1)
    shared = held[one].multiply(held[other]).sum(axis=1)
    return float((shared / np.maximum(counts[one] + counts[other] - shared, 1)).mean())


def semantic_id_statistics(
    codes: np.ndarray,
    attributes: Sequence[Sequence[str]],
    vectors: np.ndarray,
    quantised: Quantised | None,
    seed: int,
) -> dict[str, Any]:
    """All statistics above for quantiser codes [n, l] of `vectors` [n, d].

    Imported codes have no codebooks, so their reconstruction error is None.
    """
    rng = np.random.default_rng(derived_seed(seed, "attribute_overlap"))
    return {
        **code_statistics(codes),
        "reconstruction_error": quantised_error(vectors, quantised) if quantised else None,
        "attribute_overlap": {
            "same_level_1_code": attribute_overlap(attributes, codes[:, 0], rng),
            "any_two_items": attribute_overlap(attributes, np.zeros(len(codes), dtype=np.int64), rng),
        },
    }
