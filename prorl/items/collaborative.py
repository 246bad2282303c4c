"""A simulator's item vectors beside those of the texts: items with a code in common are then alike in both.

Items that are described alike are not always liked by the same people. A policy learns sooner what a
simulator prefers where the codes tell of both. The idea is that of LETTER (Wang et al., Learnable Item
Tokenization for Generative Recommendation, 2024), whose quantiser learns to draw codes of texts towards
vectors learnt from interactions; here both are put side by side before any quantiser sees them.

Shape key: `n` items, `e` components of an embedding, `d` components kept, `h` components of a simulator's
vector.
"""

from collections.abc import Callable, Iterator

import numpy as np

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items.matrices import CHUNK, row_chunks
from prorl.items.reduction import PCA

SMALLEST = 1e-12  # mean square distance of directions from their mean that is more than rounding


def require_vectors(vectors: np.ndarray, n: int, name: str) -> None:
    """Raise `DataError` where the simulator `name` does not have a finite one of `vectors` for each of `n`
    items.
    """
    if len(vectors) != n:
        raise DataError(
            f"simulator {name!r}: {len(vectors)} item vectors for {n} items; they must be as many"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f"simulator {name!r}: {len(bad)} of {n} item vectors hold a number that is not finite, the first "
            f"is that of item {int(bad[0]) + 1}"
        )


def beside(embeddings: np.ndarray, pca: PCA, vectors: np.ndarray, weight: float) -> Iterator[np.ndarray]:
    """The components of `embeddings` [n, e], and a simulator's `vectors` [n, h] `weight` times as long,
    float64 [.., d + h], part by part.

    Both are centred and scaled as a whole: the mean square length of a row is about d, as if it were
    whitened, and `weight`^2 d. Before that, each of `vectors` is scaled to length 1, since its length tells
    of popularity more than of taste; so the vector of an item that no training user has chosen, which is
    noise, weighs as much as any other's. Raises `ConfigError` if all of them are alike.
    """
    d = len(pca.variances)
    mean, spread = _spread(vectors)
    if spread < SMALLEST:
        raise ConfigError(
            f"reduce.collaborative: got {weight}, allowed: 0, as the simulator's {len(vectors)} item vectors "
            "point the same way"
        )
    own, other = np.sqrt(d / pca.spread), weight * np.sqrt(d / spread)
    for reduced, (_, rows) in zip(pca.transformed(embeddings), row_chunks(vectors, CHUNK), strict=True):
        yield np.concatenate([own * reduced, other * (_directions(rows) - mean)], axis=1)


def _spread(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean [h] of the directions of `vectors` [n, h], and their mean square distance from it."""

    def mean_over_rows(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        parts = (of(_directions(rows)).sum(axis=0) for _, rows in row_chunks(vectors, CHUNK))
        return np.asarray(sum(parts)) / len(vectors)

    mean = mean_over_rows(lambda directions: directions)
    return mean, float(mean_over_rows(lambda directions: (directions - mean) ** 2).sum())


def _directions(rows: np.ndarray) -> np.ndarray:
    """`rows` at length 1, those of length 0 as they are."""
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
