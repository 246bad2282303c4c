"""Real stretches of logs against simulated ones: sampling, statistics and distances."""

import numpy as np
import pytest
import torch

from prorl.evaluation.continuations import ks_distance, ks_of_pairs, simulated, statistics
from prorl.metrics.intervals import UserBootstrap
from tests.tiny_models import random_simulator

CPU = torch.device("cpu")


class Certain:
    """A simulator of four items: after each comes the next by number, after the last the first."""

    n_items = 4

    def score(self, history, path, target, *, ends=False):
        raise NotImplementedError

    def item_scores(self, history):
        scores = torch.full((len(history), 4), -torch.inf)
        return scores.scatter(1, history[:, -1:] % 4, 0.0)


class Fixed:
    """A simulator that takes items 1, 2, 3 with the same chances .5, .375 and .125, whatever was before."""

    n_items = 3

    def score(self, history, path, target, *, ends=False):
        raise NotImplementedError

    def item_scores(self, history):
        return torch.tensor([0.5, 0.375, 0.125]).log().repeat(len(history), 1)


def test_items_are_drawn_after_those_drawn_before():
    drawn = simulated(Certain(), np.array([[1, 2], [4, 3]]), 5, 0, CPU, batch_size=1)
    assert drawn.tolist() == [[3, 4, 1, 2, 3], [4, 1, 2, 3, 4]]


def test_items_are_drawn_as_often_as_the_simulator_says():
    drawn = simulated(Fixed(), np.ones((2000, 1), dtype=int), 10, 7, CPU, batch_size=2000)
    shares = np.bincount(drawn.ravel(), minlength=4)[1:] / drawn.size
    assert shares == pytest.approx([0.5, 0.375, 0.125], abs=4 * 0.5 / np.sqrt(20000))


def test_draws_depend_on_the_seed_and_not_on_the_batch():
    history = np.arange(1, 13).reshape(6, 2)
    simulator = random_simulator(12)
    every, two = (simulated(simulator, history, 4, 3, CPU, size) for size in (6, 2))
    np.testing.assert_array_equal(every, two)
    assert (every != simulated(simulator, history, 4, 4, CPU, 6)).any()


def test_statistics_by_hand():
    # items 1 and 2 share an attribute, 3 has one of its own, 4 has none
    words = np.array([[0], [1], [1], [2], [0]], dtype=np.uint64)
    counts = np.array([0, 9, 4, 0, 1])
    found = statistics(np.array([[3, 1], [3, 1]]), np.array([[2, 1, 3, 3], [4, 4, 2, 2]]), words, counts)
    # 1-2 yes, 2-1 yes, 1-3 no, 3-3 yes; 1-4 no, 4-4 no, 4-2 no, 2-2 yes
    assert found["attribute_repeats"].tolist() == [0.75, 0.25]
    assert found["popularity"] == pytest.approx(
        [(np.log(5) + np.log(10) + 2 * np.log(1)) / 4, (2 * np.log(2) + 2 * np.log(5)) / 4]
    )
    assert found["item_repeats"].tolist() == [0.75, 0.5]  # 2 and 4 are new, then 2 is


def test_the_distance_is_the_largest_gap_of_the_distribution_functions():
    assert ks_distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])) == 0.5
    assert ks_distance(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0])) == pytest.approx(1 / 3)
    assert ks_distance(np.zeros(3), np.ones(5)) == 1.0
    assert ks_distance(np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])) == 0.0


def test_the_interval_of_a_distance_equals_that_of_resampling_users_one_by_one():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(6), [1, 3, 2, 2, 4, 1])
    one, other = rng.integers(0, 5, 13) / 4, rng.integers(1, 6, 13) / 4
    bootstrap = UserBootstrap.of_users(user, 200, seed=0)
    distances = []
    for weights in bootstrap.weights:
        rows = np.repeat(np.arange(13), weights[bootstrap.group].astype(int))
        distances.append(ks_distance(one[rows], other[rows]))
    found = ks_of_pairs(one, other, bootstrap)
    assert found["mean"] == ks_distance(one, other)
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(distances, [0.025, 0.975]))
