"""A simulator's item vectors beside those of the texts: items with a code in common are then alike in both.

Items that are described alike are not always liked by the same people. A policy learns sooner what a
simulator prefers where the codes tell of both. Source: LETTER (Wang et al., Learnable Item Tokenization for
Generative Recommendation, 2024), which draws codes of texts towards vectors learnt from interactions.

Shape key: `n` items, `e` components of an embedding, `d` components kept, `h` components of a simulator's
vector.
"""

from collections.abc import Callable, Iterator

import numpy as np

from prorl.config.section import ConfigError
from prorl.items.matrices import row_chunks
from prorl.items.reduction import CHUNK, PCA

SMALLEST = 1e-12  # mean square distance of directions from their mean that is more than rounding


def beside(embeddings: np.ndarray, pca: PCA, vectors: np.ndarray, weight: float) -> Iterator[np.ndarray]:
    """The components of `embeddings` [n, e], and a simulator's `vectors` [n, h] `weight` times as long,
    float64 [.., d + h], part by part.

    Both are centred and scaled as a whole: the mean square length of a row is d, as if it were whitened, and
    `weight`^2 d. Before that, each of `vectors` is scaled to length 1, since longer ones only tell of
    popularity. Raises `ConfigError` if all of them are alike.
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
