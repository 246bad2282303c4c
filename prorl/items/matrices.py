"""Matrices of item vectors on disk: row i is item i + 1."""

import math
import os
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from prorl.errors import DataError
from prorl.files import atomic_file

CHUNK = 16384  # rows of a matrix that are read, and computed with, at a time


def read_matrix(path: Path, mapped_above: int | None = None) -> np.ndarray:
    """The matrix in the `.npy` file `path`, its numbers finite in float32. Raises `DataError` for anything
    else, before memory is taken for numbers that the file does not hold.

    A file of more than `mapped_above` bytes is memory-mapped, None maps none; whether its numbers are finite
    is then seen where `row_chunks` reads them.
    """
    mapped = mapped_above is not None and path.is_file() and path.stat().st_size > mapped_above
    try:
        with open(path, "rb") as stream:
            _require_numbers(stream)
        matrix = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    # What the numbers of NumPy's own header may raise, too.
    except (
        ValueError,
        TypeError,
        OverflowError,
        OSError,
        EOFError,
        SyntaxError,
        tokenize.TokenError,
    ) as error:
        raise DataError(f"{path}: not readable as .npy: {error}") from error
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(
            f"{path}: a {matrix.dtype} array of shape {matrix.shape}; "
            "allowed: a matrix of floating-point numbers"
        )
    if not mapped:
        _require_finite(matrix, 0, path)
    return matrix


def _require_numbers(stream: BinaryIO) -> None:
    """Raise `ValueError` unless a `.npy` file begins here, of as many bytes as its header says."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format, allowed: (1, 0) or (2, 0)")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, allowed: numbers")
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    if left != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{left} bytes behind the header, but shape {shape} of {dtype}")


def row_chunks(matrix: np.ndarray, size: int = CHUNK) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of `matrix` [n, d], up to `size` at a time, each part with the number of its first row.

    Each part of a memory-mapped matrix is mapped by itself, so that memory holds no more than one. Raises
    `DataError` naming the first row of such a matrix that holds a number that is not finite in float32.
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
    """Raise `DataError` for the first of `rows`, which begin at row `first` of `path`, that holds a number
    that is not finite in float32.
    """
    with np.errstate(over="ignore"):  # a number beyond float32 becomes an infinity there
        bad = np.flatnonzero(~np.isfinite(rows.astype(np.float32, copy=False)).all(axis=1))
    if len(bad):
        raise DataError(f"{path}: row {first + bad[0]} holds a number that is not finite in float32")


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
