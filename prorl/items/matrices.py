"""Matrices of item vectors on disk: row i is item i + 1."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from prorl.errors import DataError
from prorl.files import atomic_file

CHUNK = 16384  # rows read from a memory-mapped matrix at a time


def read_matrix(path: Path, mapped_above: int | None = None) -> np.ndarray:
    """The matrix of finite numbers in the `.npy` file `path`. Raises `DataError` for anything else.

    A file of more than `mapped_above` bytes is memory-mapped, None maps none; whether its numbers are finite
    is then seen where `row_chunks` reads them.
    """
    mapped = mapped_above is not None and path.is_file() and path.stat().st_size > mapped_above
    try:
        matrix = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not readable as .npy: {error}") from error
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(
            f"{path}: a {matrix.dtype} array of shape {matrix.shape}; "
            "allowed: a matrix of floating-point numbers"
        )
    if not mapped:
        _require_finite(matrix, 0, path)
    return matrix


def row_chunks(matrix: np.ndarray, size: int = CHUNK) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of `matrix` [n, d], up to `size` at a time, each part with the number of its first row.

    Each part of a memory-mapped matrix is mapped by itself, so that memory holds no more than one. Raises
    `DataError` naming the first row of such a matrix that holds a number that is not finite.
    """
    for start in range(0, len(matrix), size):
        rows = matrix[start : start + size]
        if isinstance(matrix, np.memmap) and matrix.filename is not None:
            path = Path(matrix.filename)
            if matrix.flags.c_contiguous:
                offset = matrix.offset + start * matrix.strides[0]
                rows = np.memmap(path, matrix.dtype, "r", offset, rows.shape)
            _require_finite(rows, start, path)
        yield start, np.asarray(rows)


def _require_finite(rows: np.ndarray, first: int, path: Path) -> None:
    """Raise `DataError` for the first of `rows`, which begin at row `first` of `path`, that is not finite."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(f"{path}: row {first + bad[0]} holds a number that is not finite")


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write `matrix` as a float32 `.npy` file, completely or not at all."""
    write_rows(path, matrix.shape, [matrix])


def write_rows(path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write a float32 `.npy` file of `shape` from the `parts` of its rows, completely or not at all."""
    with atomic_file(path) as temporary, open(temporary, "wb") as stream:
        header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            stream.write(np.ascontiguousarray(part, dtype=np.float32).data)
        stream.flush()
        os.fsync(stream.fileno())
