"""Principal components of item vectors, whitened or not.

Shape key: `n` items, `e` components of an embedding, `d` components kept.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.linalg import eigh

from prorl.config.section import ConfigError
from prorl.files import atomic_file

CHUNK = 16384  # rows converted to float64 at a time


@dataclass(frozen=True)
class PCA:
    """A fitted projection.

    mean [e]; components [d, e], each of unit length; variances [d] of the fitted vectors along them.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    whiten: bool

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """`(vectors - mean) components^T` of `vectors` [n, e], float32 [n, d].

        Whitening divides by the standard deviations.
        """
        scale = 1 / np.sqrt(self.variances) if self.whiten else np.ones_like(self.variances)
        projection = self.components.T * scale
        reduced = np.empty((len(vectors), len(self.variances)), dtype=np.float32)
        for start in range(0, len(vectors), CHUNK):
            reduced[start : start + CHUNK] = (vectors[start : start + CHUNK] - self.mean) @ projection
        return reduced


def fit_pca(vectors: np.ndarray, dimension: int, whiten: bool) -> PCA:
    """The `dimension` directions in which `vectors` [n, e] vary most.

    They are eigenvectors of the covariance in float64. The sign of a component makes its largest entry
    positive, so that it does not depend on the solver. Raises `ConfigError` if the vectors vary in fewer
    directions.
    """
    n, width = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    for start in range(0, n, CHUNK):
        centred = vectors[start : start + CHUNK] - mean
        covariance += centred.T @ centred
    covariance /= max(n - 1, 1)
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


def save_pca(path: Path, pca: PCA) -> None:
    """Write `pca` as safetensors."""
    tensors = {name: np.ascontiguousarray(getattr(pca, name)) for name in ("mean", "components", "variances")}
    with atomic_file(path) as temporary:
        save_file({**tensors, "whiten": np.array([pca.whiten])}, temporary)


def load_pca(path: Path) -> PCA:
    """Read what `save_pca` wrote."""
    tensors = load_file(path)
    return PCA(tensors["mean"], tensors["components"], tensors["variances"], bool(tensors["whiten"][0]))
