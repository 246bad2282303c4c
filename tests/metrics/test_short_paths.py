"""Metrics where bounds and ends show: paths of one item or none, and few partners."""

import numpy as np
import pytest

from prorl.metrics import path_metrics


def test_interest_and_rank_are_read_at_the_very_ends():
    log_prob = np.array([[-5.0, -4.0, -3.0, -1.5]])
    assert path_metrics.increment_of_interest(log_prob).tolist() == [3.5]
    assert path_metrics.increment_of_rank(np.array([[90, 60, 40, 5]])).tolist() == [85]


def test_shares_of_a_path_of_one():
    one = np.array([[7, 0, 0]])
    assert path_metrics.feasibility(np.array([[0.3, 0.0, 0.0]]), one).tolist() == pytest.approx([0.3])
    assert path_metrics.error(np.array([[-1, 0, 0]])).tolist() == [1.0]
    assert path_metrics.history_in_path(one, np.array([[9, 7]])).tolist() == [1.0]


def test_two_paths_of_the_same_item_are_alike():
    assert path_metrics.diversity(np.array([[7, 0], [7, 7]]), np.array([1, 2]), 2, seed=0).tolist() == [
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(("n_pairs", "n_partners"), [(1, 1), (20, 1), (21, 2), (60, 3)])
def test_every_path_meets_as_many_partners_as_the_pairs_allow(n_pairs, n_partners):
    """Half of the paths are the same, and so are the others: a distance is the share of partners in the other
    half.
    """
    items = np.repeat([[1, 2], [3, 4]], 10, axis=0)
    distance = path_metrics.diversity(items, np.arange(20), n_pairs, seed=0) * n_partners
    assert distance == pytest.approx(distance.round())
    assert set(distance.round().astype(int).tolist()) == set(range(n_partners + 1))
