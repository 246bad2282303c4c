"""Residual k-means: the codebook of each level is a k-means of the residuals of the levels before it.

Shape key: `n` items, `c` codes of a level, `d` components of a vector.
"""

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from prorl.config.quantize import Quantize
from prorl.runtime import derived_seed
from prorl.semantic_ids.residual import Quantised, nearest, reconstruct, residual_codes
from prorl.semantic_ids.streamed import streamed_codes


def fit_codebooks(vectors: np.ndarray, settings: Quantize, seed: int) -> list[np.ndarray]:
    """Codebooks [c, d] fitted to `vectors` [n, d], level after level.

    Each is the best of `settings.n_restarts` k-means++ starts. A level with fewer distinct residuals than
    `settings.codebook_size` gets as many codes as residuals. It runs in one thread: k-means adds up in the
    order in which threads finish, so more threads would change the last bits from run to run.
    """
    residuals, codebooks = np.asarray(vectors, dtype=np.float32), []
    with threadpool_limits(1):
        for level in range(settings.n_codebooks):
            n_codes = min(settings.codebook_size, len(np.unique(residuals, axis=0)))
            kmeans = KMeans(
                n_codes,
                n_init=settings.n_restarts,  # pyright: ignore[reportArgumentType]  # inferred from "auto"
                random_state=derived_seed(seed, "rq_kmeans", level),
            )
            codebooks.append(kmeans.fit(residuals).cluster_centers_)
            residuals = residuals - codebooks[-1][nearest(residuals, codebooks[-1])]
    return codebooks


def rq_kmeans(vectors: np.ndarray, settings: Quantize, seed: int) -> Quantised:
    """Codes of `vectors` [n, d] under codebooks fitted to them.

    Vectors of more than `settings.minibatch_above` items are read part by part, see `streamed_codes`.
    """
    if len(vectors) > settings.minibatch_above:
        return streamed_codes(vectors, settings, seed)
    codebooks = fit_codebooks(vectors, settings, seed)
    with threadpool_limits(1):
        codes = residual_codes(vectors, codebooks, settings.balanced)
    tensors = {f"codebook_{level}": codebook for level, codebook in enumerate(codebooks)}
    return Quantised(codes, reconstruct(codes, codebooks), tensors)
