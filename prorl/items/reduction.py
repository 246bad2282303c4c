"""Principal components of item vectors, whitened or not.

Shape key: `n` items, `e` components of an embedding, `d` components kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.linalg import eigh

from prorl.config.section import ConfigError
from prorl.files import atomic_file
from prorl.items.matrices import CHUNK, row_chunks


@dataclass(frozen=True)
class PCA:
    """A fitted projection.

    mean [e]; components [d, e], each of unit length; variances [d] of the fitted vectors along them.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    whiten: bool

    @property
    def spread(self) -> float:
        """The mean square length of what `transform` makes of the fitted vectors."""
        return float(len(self.variances) if self.whiten else self.variances.sum())

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """`(vectors - mean) components^T` of `vectors` [n, e], float32 [n, d].

        Whitening divides by the standard deviations.
        """
        reduced = np.empty((len(vectors), len(self.variances)), dtype=np.float32)
        start = 0
        for part in self.transformed(vectors):
            reduced[start : start + len(part)] = part
            start += len(part)
        return reduced

    def transformed(self, vectors: np.ndarray) -> Iterator[np.ndarray]:
        """`transform` part by part, float64 [.., d], for vectors of which memory does not hold all."""
        scale = 1 / np.sqrt(self.variances) if self.whiten else np.ones_like(self.variances)
        projection = self.components.T * scale
        for _, rows in row_chunks(vectors, CHUNK):
            yield (rows - self.mean) @ projection


def fit_pca(vectors: np.ndarray, dimension: int, whiten: bool) -> PCA:
    """The `dimension` directions in which `vectors` [n, e] vary most.

    They are eigenvectors of the covariance in float64. The sign of a component makes its largest entry
    positive, so that it does not depend on the solver. Memory-mapped vectors are read once, part by part.
    Raises `ConfigError` if the vectors vary in fewer directions.
    """
    n, width = vectors.shape
    mean, scatter = (_streamed if isinstance(vectors, np.memmap) else _in_memory)(vectors)
    covariance = scatter / max(n - 1, 1)
    kept = min(dimension, width)
    variances, columns = eigh(covariance, subset_by_index=(width - kept, width - 1))
    variances, components = variances[::-1], columns.T[::-1]
    rank = int((variances > 1e-10 * variances[0]).sum()) if variances[0] > 0 else 0
    if rank < dimension:
        raise ConfigError(
            f"reduce.dimension: got {dimension}, allowed: at most {rank}, "
            f"in so many directions do the {n} embeddings vary"
        )
    largest = components[np.arange(dimension), np.abs(components).argmax(axis=1)]
    return PCA(mean, components * np.sign(largest)[:, None], variances.copy(), whiten)


def _in_memory(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean [e] of `vectors` [n, e], and the sum [e, e] of the products of their distances from it."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for _, rows in row_chunks(vectors, CHUNK):
        centred = rows - mean
        scatter += centred.T @ centred
    return mean, scatter


def _streamed(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_in_memory` in one pass: of each part alone, then added to the parts before it.

    Two parts of m and n vectors whose means differ by d add up to their sums and `d d^T m n / (m + n)`.
    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979.
    """
    mean, scatter = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1], vectors.shape[1]))
    for n, rows in row_chunks(vectors, CHUNK):
        own = rows.mean(axis=0, dtype=np.float64)
        centred, apart = rows - own, own - mean
        total = n + len(rows)
        scatter += centred.T @ centred
        scatter += np.outer(apart, apart) * (n * len(rows) / total)
        mean += apart * (len(rows) / total)
    return mean, scatter


def save_pca(path: Path, pca: PCA) -> None:
    """Write `pca` as safetensors."""
    tensors = {name: np.ascontiguousarray(getattr(pca, name)) for name in ("mean", "components", "variances")}
    with atomic_file(path) as temporary:
        save_file({**tensors, "whiten": np.array([pca.whiten])}, temporary)


def load_pca(path: Path) -> PCA:
    """Read what `save_pca` wrote."""
    tensors = load_file(path)
    return PCA(tensors["mean"], tensors["components"], tensors["variances"], bool(tensors["whiten"][0]))
