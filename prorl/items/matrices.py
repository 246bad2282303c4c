"""Matrices of item vectors on disk: row i is item i + 1."""

import math
import os
import tokenize
from pathlib import Path
from typing import BinaryIO

import numpy as np

from prorl.errors import DataError
from prorl.files import atomic_file


def read_matrix(path: Path) -> np.ndarray:
    """The matrix in the `.npy` file `path`, its numbers finite in float32. Raises `DataError` for anything
    else, before memory is taken for numbers that the file does not hold.
    """
    try:
        with open(path, "rb") as stream:
            _require_numbers(stream)
        matrix = np.load(path, allow_pickle=False)
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
    with np.errstate(over="ignore"):  # a number beyond float32 becomes an infinity there
        bad = np.flatnonzero(~np.isfinite(matrix.astype(np.float32, copy=False)).all(axis=1))
    if len(bad):
        raise DataError(f"{path}: row {bad[0]} holds a number that is not finite in float32")
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


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write `matrix` as a float32 `.npy` file, completely or not at all."""
    with atomic_file(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.ascontiguousarray(matrix, dtype=np.float32))
        stream.flush()
        os.fsync(stream.fileno())
