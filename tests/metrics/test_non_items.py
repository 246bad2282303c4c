"""What a group of tokens that is no item does to each metric of a path's shape."""

import numpy as np
import pytest

from prorl.metrics import path_metrics

# Items 1 and 2 share an attribute; so do 2 and 3.
WORDS = np.array([[0], [0b01], [0b11], [0b10]], dtype=np.uint64)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([1, -1, 2, 0], 1 / 3),  # of the pairs (1, -1), (-1, 2) and (2, 3) the last alone
        ([1, 2, -1, 0], 1 / 3),
        ([-1, 2, 0, 0], 1 / 2),
        ([-1, -1, -1, -1], 0.0),
    ],
)
def test_pairs_with_a_non_item_count_as_pairs_without_coherence(path, expected):
    assert path_metrics.coherence(np.array([path]), np.array([3]), WORDS).tolist() == pytest.approx(
        [expected]
    )


def test_the_error_is_the_share_of_groups_that_are_no_item():
    paths = np.array([[1, -1, 2, 0], [-1, -1, 0, 0], [1, 2, 3, 1], [0, 0, 0, 0], [-1, 1, 1, 1]])
    assert path_metrics.error(paths).tolist() == pytest.approx([1 / 3, 1.0, 0.0, 0.0, 1 / 4])


def test_a_non_item_is_no_repeat_no_target_and_no_part_of_the_history():
    paths = np.array([[-1, -1, 1, 1], [-1, 2, -1, 0]])
    assert path_metrics.repeats(paths).tolist() == [1 / 4, 0.0]
    assert path_metrics.target_in_path(paths, np.array([3, 2])).tolist() == [0.0, 1.0]
    assert path_metrics.history_in_path(paths, np.array([[1, 1], [3, 3]])).tolist() == [1 / 2, 0.0]


def test_diversity_compares_the_items_alone():
    paths = np.array([[-1, 1, 2], [2, -1, -1], [-1, -1, -1]])
    both = np.array([[0, 1], [0, 2], [1, 2]])
    for rows, distance in zip(both, (1 / 2, 1.0, 1.0), strict=True):
        found = path_metrics.diversity(paths[rows], np.array([5, 9]), 2, seed=0)
        assert found.tolist() == pytest.approx([distance] * 2)
