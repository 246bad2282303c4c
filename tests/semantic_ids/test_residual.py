"""Codes on codebooks worked out by hand, and balanced assignment against every other assignment."""

from itertools import permutations

import numpy as np
import pytest

from prorl.semantic_ids import residual
from prorl.semantic_ids.residual import distinct_last_codes, nearest, reconstruct, residual_codes

CODEBOOKS = [
    np.array([[0.0, 0], [10, 0], [0, 10]], dtype=np.float32),
    np.array([[0.0, 0], [1, 0], [0, 2]], dtype=np.float32),
]


def test_each_level_codes_what_the_one_before_left_over():
    vectors = np.array([[11.0, 0.1], [0.2, 12], [0.4, 0], [9, 0]])
    codes = residual_codes(vectors, CODEBOOKS, balanced=False)
    assert codes.tolist() == [[1, 1], [2, 2], [0, 0], [1, 0]]
    np.testing.assert_array_equal(reconstruct(codes, CODEBOOKS), [[11, 0], [0, 12], [0, 0], [10, 0]])


def test_of_equally_near_codes_the_lowest_is_taken():
    assert nearest(np.array([[5.0, 0]]), CODEBOOKS[0]).tolist() == [0]


def test_nearest_by_chunks_is_nearest_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, codebook = rng.normal(size=(50, 4)), rng.normal(size=(9, 4))
    obvious = ((vectors[:, None] - codebook) ** 2).sum(axis=2).argmin(axis=1)
    monkeypatch.setattr(residual, "CHUNK", 7)
    np.testing.assert_array_equal(nearest(vectors, codebook), obvious)


def test_balanced_codes_tell_items_apart_at_the_least_distance():
    rng = np.random.default_rng(1)
    residuals, codebook = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    codes = np.array([[3, 0], [3, 0], [3, 1], [7, 0]])
    last = distinct_last_codes(residuals, codebook, codes)
    assert last[3] == 0  # alone with its leading code: unchanged
    distances = ((residuals[:3, None] - codebook) ** 2).sum(axis=2)
    best = min(permutations(range(5), 3), key=lambda chosen: distances[range(3), chosen].sum())
    assert tuple(last[:3]) == best


def test_groups_without_a_collision_keep_their_codes():
    codes = np.array([[0, 2], [0, 1], [1, 2]])
    assert distinct_last_codes(np.zeros((3, 2)), np.eye(3, 2), codes).tolist() == [2, 1, 2]


@pytest.mark.parametrize(("n_items", "most"), [(6, 2), (7, 3), (9, 3)])
def test_more_items_than_codes_share_the_codes_out(n_items, most):
    last = distinct_last_codes(
        np.random.default_rng(0).normal(size=(n_items, 2)), np.eye(3, 2), np.zeros((n_items, 2), dtype=int)
    )
    assert np.bincount(last).max() == most
