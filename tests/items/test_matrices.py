"""Matrices on disk: written part by part as all at once, read whole or mapped, refused where not finite."""

import numpy as np
import pytest

from prorl.errors import DataError
from prorl.items.matrices import read_matrix, row_chunks, write_matrix, write_rows

MATRIX = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def test_a_matrix_written_part_by_part_has_the_bytes_that_numpy_writes(tmp_path):
    np.save(tmp_path / "plain.npy", MATRIX)
    write_matrix(tmp_path / "whole.npy", MATRIX)
    write_rows(tmp_path / "parts.npy", MATRIX.shape, [MATRIX[:20].astype(np.float64), MATRIX[20:]])
    expected = (tmp_path / "plain.npy").read_bytes()
    assert (tmp_path / "whole.npy").read_bytes() == expected
    assert (tmp_path / "parts.npy").read_bytes() == expected


def test_a_file_above_the_limit_is_mapped_and_one_at_the_limit_is_not(tmp_path):
    path = tmp_path / "matrix.npy"
    write_matrix(path, MATRIX)
    size = path.stat().st_size
    assert isinstance(read_matrix(path, mapped_above=size - 1), np.memmap)
    assert not isinstance(read_matrix(path, mapped_above=size), np.memmap)
    assert not isinstance(read_matrix(path), np.memmap)


@pytest.mark.parametrize("mapped_above", [None, 0])
def test_chunks_hold_all_rows_in_order(tmp_path, mapped_above):
    write_matrix(tmp_path / "matrix.npy", MATRIX)
    chunks = list(row_chunks(read_matrix(tmp_path / "matrix.npy", mapped_above), 8))
    assert [start for start, _ in chunks] == [0, 8, 16, 24, 32, 40, 48]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in chunks]), MATRIX)


def test_a_mapped_row_that_is_not_finite_is_named_where_it_is_read(tmp_path):
    matrix = MATRIX.copy()
    matrix[37, 1] = np.nan
    write_matrix(tmp_path / "matrix.npy", matrix)
    with pytest.raises(DataError, match=r"matrix.npy: row 37 holds a number that is not finite"):
        read_matrix(tmp_path / "matrix.npy")
    mapped = read_matrix(tmp_path / "matrix.npy", mapped_above=0)
    with pytest.raises(DataError, match=r"matrix.npy: row 37 holds a number that is not finite"):
        list(row_chunks(mapped, 10))
