"""Matrices of item vectors on disk: row i is item i + 1."""

import os
from pathlib import Path

import numpy as np

from prorl.errors import DataError
from prorl.files import atomic_file


def read_matrix(path: Path) -> np.ndarray:
    """The matrix of finite numbers in the `.npy` file `path`. Raises `DataError` for anything else."""
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not readable as .npy: {error}") from error
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(
            f"{path}: a {matrix.dtype} array of shape {matrix.shape}; "
            "allowed: a matrix of floating-point numbers"
        )
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise DataError(f"{path}: row {bad[0]} holds a number that is not finite")
    return matrix


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write `matrix` as a float32 `.npy` file, completely or not at all."""
    with atomic_file(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.ascontiguousarray(matrix, dtype=np.float32))
        stream.flush()
        os.fsync(stream.fileno())
