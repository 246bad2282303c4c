"""Residual k-means of vectors that are read part by part, of which memory need not hold all.

Each level's codebook is a k-means of a sample, as faiss takes one, which random batches of all vectors then
move: Sculley, Web-scale k-means clustering, 2010. Codes of all items are held, residuals of none: they are
made anew from vectors, codes and codebooks wherever they are needed.

Shape key: `n` items, `l` levels, `c` codes of a level, `d` components of a vector, `b` vectors of a batch.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from prorl.config.quantize import Quantize
from prorl.items.matrices import CHUNK, row_chunks
from prorl.runtime import derived_seed
from prorl.semantic_ids.residual import Quantised, distinct_last_codes, nearest

SAMPLED = 256  # vectors for each code of a codebook
BATCH = 16384


class Residuals:
    """What the codebooks of some levels leave over of `vectors` [n, d], float32; made where it is read.

    codes: of each level those of all vectors, [n].
    """

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors
        self.codebooks: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []

    def __len__(self) -> int:
        """The number of vectors."""
        return len(self.vectors)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """The residuals at `places` [m], [m, d]."""
        return self._less(self.vectors[places], places)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All residuals in order, part by part, and before them the vectors that they are of."""
        for start, rows in row_chunks(self.vectors, CHUNK):
            yield rows, self._less(rows, slice(start, start + len(rows)))

    def _less(self, rows: np.ndarray, places: np.ndarray | slice) -> np.ndarray:
        rest = np.asarray(rows, dtype=np.float32)
        for codebook, codes in zip(self.codebooks, self.codes, strict=True):
            rest = rest - codebook[codes[places]]
        return rest


def streamed_codes(vectors: np.ndarray, settings: Quantize, seed: int) -> Quantised:
    """Codes of `vectors` [n, d], in memory or memory-mapped, under codebooks fitted to them, in one thread.

    With `settings.balanced` the last codes are `distinct_last_codes`.
    """
    residuals, codebooks = Residuals(vectors), []
    with threadpool_limits(1):
        for level in range(settings.n_codebooks):
            codebook = minibatch_codebook(residuals, settings, derived_seed(seed, "rq_kmeans", level))
            codes = np.concatenate([nearest(rest, codebook) for _, rest in residuals.chunks()])
            if settings.balanced and level == settings.n_codebooks - 1:
                so_far = np.stack([*residuals.codes, codes], axis=1)
                codes = distinct_last_codes(residuals, codebook, so_far)
            residuals.codebooks.append(codebook)
            residuals.codes.append(codes)
            codebooks.append(codebook)
    tensors = {f"codebook_{level}": codebook for level, codebook in enumerate(codebooks)}
    return Quantised(np.stack(residuals.codes, axis=1), None, tensors, lost_share(residuals))


def minibatch_codebook(residuals: Residuals, settings: Quantize, seed: int) -> np.ndarray:
    """A codebook [c, d] of `residuals`: the best k-means of a sample, then moved by as many random vectors as
    there are, batch by batch.

    A code stands at the mean of the vectors that were nearest to it when they were drawn, those of the sample
    included.
    """
    random = np.random.default_rng(seed)
    size = min(len(residuals), SAMPLED * settings.codebook_size)
    sample = residuals[np.sort(random.choice(len(residuals), size, replace=False))]
    n_codes = min(settings.codebook_size, len(np.unique(sample, axis=0)))
    kmeans = KMeans(
        n_codes,
        n_init=settings.n_restarts,  # pyright: ignore[reportArgumentType]  # inferred from "auto"
        random_state=derived_seed(seed, "sample"),
    ).fit(sample)
    codebook = kmeans.cluster_centers_.astype(np.float64)
    counts = np.bincount(kmeans.predict(sample), minlength=n_codes)
    for _ in range(-(-len(residuals) // BATCH)):
        batch = residuals[np.sort(random.integers(len(residuals), size=BATCH))]
        moved(codebook, counts, batch)
    return codebook.astype(np.float32)


def moved(codebook: np.ndarray, counts: np.ndarray, batch: np.ndarray) -> None:
    """Move each code of `codebook` [c, d] to the mean of the `counts` [c] vectors it stood for and those of
    `batch` [b, d] that are nearest to it, in place.
    """
    code = nearest(batch, codebook.astype(np.float32))
    more = np.bincount(code, minlength=len(codebook))
    sums = np.stack([np.bincount(code, column, minlength=len(codebook)) for column in batch.T], axis=1)
    counts += more
    codebook += (sums - more[:, None] * codebook) / np.maximum(counts, 1)[:, None]


def lost_share(residuals: Residuals) -> float:
    """The share of the variance of the vectors that `residuals` hold, as `reconstruction_error` has it."""
    n, lost, squares = len(residuals), 0.0, 0.0
    total = np.zeros(residuals.vectors.shape[1])
    for rows, rest in residuals.chunks():
        lost += float((rest.astype(np.float64) ** 2).sum())
        total += rows.sum(axis=0, dtype=np.float64)
    for rows, _ in residuals.chunks():
        squares += float(((rows - total / n) ** 2).sum(dtype=np.float64))
    return lost / squares
