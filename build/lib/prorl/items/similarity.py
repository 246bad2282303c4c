"""Which item may follow which, by the cosine of their vectors.

Shape key: `n` items, `d` components, `c` pairs of items.
"""

import numpy as np

from prorl.config.similarity import Similarity

RANDOM_PAIRS = 100_000  # behind a percentile
AT_ONCE = 65536  # pairs whose vectors are multiplied at a time


def cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The cosine [c] of the vectors [n, d] of each pair [c, 2] of items, counted from 1; 0 with a vector of
    zeros.
    """
    norm = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = vectors / np.where(norm == 0, 1, norm)
    parts = [
        (unit[part[:, 0] - 1] * unit[part[:, 1] - 1]).sum(axis=1)
        for part in np.split(pairs, range(AT_ONCE, len(pairs), AT_ONCE))
    ]
    return np.clip(np.concatenate(parts), -1, 1)


def least_cosine(vectors: np.ndarray, settings: Similarity, seed: int) -> float:
    """The threshold that `settings` give: their own, or a percentile of the cosines of pairs of different
    items, drawn with `seed`.
    """
    if settings.threshold is not None:
        return settings.threshold
    assert settings.percentile is not None
    generator = np.random.default_rng(seed)
    first = generator.integers(len(vectors), size=RANDOM_PAIRS)
    other = (first + generator.integers(1, max(2, len(vectors)), size=RANDOM_PAIRS)) % len(vectors)
    return float(np.percentile(cosines(vectors, np.stack([first, other], axis=1) + 1), settings.percentile))
