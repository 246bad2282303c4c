"""Every metric on paths small enough to judge by eye."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from prorl.errors import DataError
from prorl.metrics import path_metrics
from prorl.paths.mining import attribute_words

# Items 1..6; the last two have no attribute in common with anything, 6 has none at all.
WORDS = attribute_words(
    pa.array([["Comedy"], ["Comedy", "Drama"], ["Drama"], ["War", "Drama"], ["Western"], []]), ignored=[]
)


def test_interest_and_rank_are_what_the_whole_path_adds():
    log_prob = np.array([[-5.0, -4.0, -6.5, -2.0], [-3.0, -3.0, -3.0, -3.0]])
    rank = np.array([[90, 95, 20, 20], [7, 7, 7, 7]])
    assert path_metrics.increment_of_interest(log_prob).tolist() == [3.0, 0.0]
    assert path_metrics.increment_of_rank(rank).tolist() == [70, 0]


def test_feasibility_is_the_mean_acceptance_of_items():
    items = np.array([[4, 2, 9], [4, 0, 0], [0, 0, 0]])
    acceptance = np.array([[0.2, 0.4, 0.9], [0.2, 0.7, 0.7], [0.9, 0.9, 0.9]])
    assert path_metrics.feasibility(acceptance, items).tolist() == pytest.approx([0.5, 0.2, 0.0])


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ([1, 2, 3, 0], 4, 1.0),  # Comedy, Drama, and Drama towards the target
        ([1, 3, 0, 0], 4, 0.5),  # the pair (1, 3) shares nothing, (3, target) does
        ([1, 2, 0, 0], 5, 0.5),  # only the step to the target fails
        ([1, 0, 0, 0], 2, 1.0),
        ([1, 2, 3, 4], 2, 1.0),  # a path of the longest length is followed by the target too
        ([1, 6, 1, 0], 1, 1 / 3),  # an item without attributes shares none
        ([6, 6, 0, 0], 6, 0.0),  # not even with itself
        ([0, 0, 0, 0], 1, 0.0),
    ],
)
def test_coherence_counts_adjacent_pairs_of_the_path_followed_by_the_target(path, target, expected):
    assert path_metrics.coherence(np.array([path]), np.array([target]), WORDS)[0] == pytest.approx(expected)


def test_coherence_sees_attributes_beyond_the_first_word_of_bits():
    many = [[f"a{i}"] for i in range(70)] + [[f"a{i}" for i in range(70)]]
    words = attribute_words(pa.array(many), ignored=[])
    assert words.shape[1] == 2
    paths = np.stack([np.arange(1, 71), np.full(70, 71)], axis=1)
    assert path_metrics.coherence(paths, np.arange(1, 71), words).tolist() == [1.0] * 70


def test_shares_of_repeats_history_and_target():
    items = np.array([[1, 2, 1, 1], [3, 4, 0, 0], [0, 0, 0, 0], [5, 5, 5, 5]])
    history = np.array([[2, 9], [4, 3], [0, 7], [8, 9]])
    target = np.array([1, 5, 1, 2])
    assert path_metrics.repeats(items).tolist() == [0.5, 0.0, 0.0, 0.75]
    assert path_metrics.history_in_path(items, history).tolist() == [0.25, 1.0, 0.0, 0.0]
    assert path_metrics.target_in_path(items, target).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_distinct_sums_to_the_number_of_different_paths():
    items = np.array([[1, 2], [1, 2], [2, 1], [1, 2], [1, 0]])
    assert path_metrics.distinct(items).tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3, 1])
    assert path_metrics.distinct(items).sum() == pytest.approx(3)


def jaccard_distances(items, user):
    """Mean Jaccard distance [p] between each path's items and those of every path of other users."""
    sets = [set(row) - {0} for row in items.tolist()]
    distance = np.zeros((len(items), len(items)))
    for i, j in combinations(range(len(items)), 2):
        distance[i, j] = distance[j, i] = 1 - len(sets[i] & sets[j]) / len(sets[i] | sets[j])
    others = user[:, None] != user[None, :]
    return (distance * others).sum(1) / others.sum(1)


def test_diversity_meets_only_other_users_and_all_of_them_alike():
    rng = np.random.default_rng(0)
    user = np.array([3, 1, 2, 3, 3, 1, 7])
    items = rng.integers(0, 6, (7, 4))
    items[:, 0] = rng.integers(1, 6, 7)
    found = path_metrics.diversity(items, user, 7 * 20_000, seed=1)
    assert found == pytest.approx(jaccard_distances(items, user), abs=0.01)


def test_diversity_of_a_collapsed_and_of_a_disjoint_set_of_paths():
    user = np.arange(5)
    assert path_metrics.diversity(np.tile([1, 2, 3], (5, 1)), user, 50, seed=0).tolist() == [0.0] * 5
    assert (
        path_metrics.diversity(np.tile([1, 2, 3], (5, 1)) + 3 * user[:, None], user, 50, seed=0).tolist()
        == [1.0] * 5
    )
    same_sets = np.array([[1, 2, 2], [2, 1, 0], [2, 2, 1]])
    assert path_metrics.diversity(same_sets, np.arange(3), 30, seed=0).tolist() == [0.0] * 3


def test_diversity_repeats_with_its_seed_and_needs_two_users():
    rng = np.random.default_rng(0)
    items, user = rng.integers(1, 9, (20, 3)), rng.integers(1, 5, 20)
    first, again, other = (path_metrics.diversity(items, user, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(DataError, match="one user"):
        path_metrics.diversity(items, np.ones(20), 40, 1)


def test_two_empty_paths_are_alike():
    assert path_metrics.diversity(np.array([[0, 0], [0, 0]]), np.array([1, 2]), 4, seed=0).tolist() == [
        0.0,
        0.0,
    ]
