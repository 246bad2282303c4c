"""Codebook statistics on examples worked out by hand."""

import numpy as np
import pytest

from prorl.semantic_ids.residual import Quantised
from prorl.semantic_ids.statistics import (
    attribute_overlap,
    code_statistics,
    perplexity,
    reconstruction_error,
    semantic_id_statistics,
)


def test_perplexity_counts_codes_used_evenly():
    assert perplexity(np.array([0, 1, 2, 3, 0, 1, 2, 3])) == pytest.approx(4)
    assert perplexity(np.array([5, 5, 5])) == pytest.approx(1)
    assert perplexity(np.array([0, 0, 1])) == pytest.approx(3 / 2 ** (2 / 3))  # entropy log 3 - 2/3 log 2


def test_collisions_and_codes_used():
    assert code_statistics(np.array([[0, 1], [0, 1], [0, 2], [3, 1]])) == {
        "items": 4,
        "distinct_share": 0.75,
        "largest_group": 2,
        "level_1": {"used_codes": 2, "perplexity": pytest.approx(4 / 27**0.25 * 1)},
        "level_2": {"used_codes": 2, "perplexity": pytest.approx(4 / 27**0.25 * 1)},
    }


def test_the_reconstruction_error_is_the_share_of_variance_lost():
    vectors = np.array([[1.0, 0], [3, 0], [5, 6]])
    assert reconstruction_error(vectors, vectors) == 0
    assert reconstruction_error(vectors, np.tile(vectors.mean(axis=0), (3, 1))) == pytest.approx(1)


def test_attribute_overlap_is_the_mean_jaccard_of_pairs_of_a_group():
    attributes = [["a", "b"], ["b", "c"], ["d"], ["d"], [], []]
    rng = np.random.default_rng(0)
    assert attribute_overlap(attributes, np.array([4, 4, 7, 8, 9, 10]), rng) == pytest.approx(1 / 3)
    assert attribute_overlap(attributes, np.array([0, 1, 2, 2, 3, 4]), rng) == 1
    assert attribute_overlap(attributes, np.array([0, 1, 2, 3, 4, 4]), rng) == 0
    assert attribute_overlap(attributes, np.arange(6), rng) is None
    every_pair = (1 / 3 + 1) / 15
    assert attribute_overlap(attributes, np.zeros(6, dtype=int), rng) == pytest.approx(every_pair, abs=0.003)
    two_groups = np.array([0, 0, 0, 1, 1, 1])  # (1/3 + 0 + 0) and (0 + 0 + 0) over three pairs each
    assert attribute_overlap(attributes, two_groups, rng) == pytest.approx(1 / 18, abs=0.002)


def test_the_report_is_seeded_and_imported_codes_have_no_error():
    rng = np.random.default_rng(0)
    vectors, codes = rng.normal(size=(20, 3)), rng.integers(4, size=(20, 3))
    attributes = [["a"] if i % 2 else ["b"] for i in range(20)]
    quantised = Quantised(codes, vectors, {})
    report = semantic_id_statistics(codes, attributes, vectors, quantised, 1)
    assert report == semantic_id_statistics(codes, attributes, vectors, quantised, 1)
    assert report["reconstruction_error"] == 0
    assert semantic_id_statistics(codes, attributes, vectors, None, 1)["reconstruction_error"] is None
    assert report["attribute_overlap"]["any_two_items"] == pytest.approx(90 / 190, abs=0.005)
