"""Where held-out users' logs are looked at, and what is made of the answers."""

import numpy as np
import pytest
import torch

from prorl.errors import DataError
from prorl.evaluation.places import Places, auc, next_item, stretches
from prorl.metrics.intervals import UserBootstrap
from prorl.simulators.ranking import ranking_metrics
from tests.tiny_models import random_instances, random_simulator, sequences_of

N_ITEMS = 20
SEQUENCES = sequences_of([1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 11, 12])


def of_each(user):
    """A bootstrap over the users of some places."""
    return UserBootstrap.of_users(np.array(user), 400, seed=1)


def test_stretches_are_taken_from_the_logs_and_users_with_too_few_items_have_none():
    found = stretches(SEQUENCES, np.array([1, 2, 3]), before=2, after=1, per_user=9, seed=0)
    assert found.user.tolist() == [1, 1, 1, 1, 3, 3]
    assert found.history.tolist() == [[1, 2], [2, 3], [3, 4], [4, 5], [9, 10], [10, 11]]
    assert found.after.tolist() == [[3], [4], [5], [6], [11], [12]]


def test_stretches_are_at_most_so_many_of_each_user_and_drawn_with_the_seed():
    def drawn(seed):
        return stretches(SEQUENCES, np.array([3, 1]), before=1, after=1, per_user=2, seed=seed)

    assert drawn(0).user.tolist() == [3, 3, 1, 1]
    assert len({drawn(seed).after.tobytes() for seed in range(8)}) > 1
    np.testing.assert_array_equal(drawn(5).after, drawn(5).after)
    for user, history, after in zip(drawn(1).user, drawn(1).history, drawn(1).after, strict=True):
        log = SEQUENCES.of(user).tolist()
        assert log.index(after[0]) == log.index(history[0]) + 1


def test_no_stretch_at_all_is_an_empty_one_of_the_right_shape():
    found = stretches(SEQUENCES, np.array([2]), before=3, after=2, per_user=4, seed=0)
    assert (len(found), found.history.shape, found.after.shape) == (0, (0, 3), (0, 2))


def test_the_others_are_items_that_the_user_never_had():
    _, sequences = random_instances(6, N_ITEMS)
    places = Places.drawn(sequences, np.arange(1, 7), N_ITEMS, 4, 5, n_others=8, seed=3)
    assert places.others.shape == (30, 8)
    for user, others in zip(places.stretches.user, places.others, strict=True):
        assert not set(others) & set(sequences.of(user))
        assert set(others) <= set(range(1, N_ITEMS + 1))


def test_users_with_too_few_items_for_any_place_are_refused():
    message = "none of 1 held-out users has more than 2 items, validate.history_length"
    with pytest.raises(DataError, match=message):
        Places.drawn(SEQUENCES, np.array([2]), N_ITEMS, 2, 5, n_others=1, seed=0)


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_a_simulator_is_asked_for_ranks_and_acceptance_after_the_history_alone(name):
    _, sequences = random_instances(4, N_ITEMS)
    simulator = random_simulator(N_ITEMS, name)
    places = Places.drawn(sequences, np.arange(1, 5), N_ITEMS, 4, 3, n_others=5, seed=3)
    answers = places.ask(simulator, torch.device("cpu"), batch_size=5)
    scores = simulator.item_scores(torch.from_numpy(places.stretches.history).long()).double().numpy()
    own = np.take_along_axis(scores, places.items - 1, axis=1)
    np.testing.assert_allclose(answers.acceptance, 1 / (1 + np.exp(-own)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(answers.rank, 1 + (scores > own[:, :1]).sum(1))
    np.testing.assert_array_equal(answers.user, places.stretches.user)


def test_next_item_metrics_are_in_the_mean_those_of_the_simulator_stage():
    rank = np.array([1, 2, 10, 11, 500])
    means = {name: values.mean() for name, values in next_item(rank).items()}
    assert means == pytest.approx(ranking_metrics(torch.from_numpy(rank)))
    assert next_item(rank)["mrr@10"].tolist() == [1.0, 0.5, 0.1, 0.0, 0.0]


def test_auc_of_a_case_by_hand():
    # real .9 and .4; sampled .5, .4 (after the first), .1, .9 (after the second)
    # .9 beats .5, .4, .1 and ties .9: 3.5; .4 ties .4 and beats .1: 1.5; 5 of 8 comparisons
    found = auc(np.array([[0.9, 0.5, 0.4], [0.4, 0.1, 0.9]]), of_each([4, 4]))
    assert found == {"mean": 5 / 8, "low": 5 / 8, "high": 5 / 8}  # a single user is always drawn


def test_auc_and_its_resamples_equal_loops_over_all_comparisons():
    rng = np.random.default_rng(0)
    user = [1, 1, 2, 5, 5, 5, 7]
    score = rng.integers(0, 4, (7, 4)) / 4
    bootstrap = of_each(user)

    def plain(weight):
        won = pairs = 0.0
        for i, own in enumerate(score):
            for j, other in enumerate(score):
                both = weight[i] * weight[j]
                won += both * sum(float(own[0] > s) + 0.5 * float(own[0] == s) for s in other[1:])
                pairs += both * 3
        return won / pairs

    resampled = [plain(weights[bootstrap.group]) for weights in bootstrap.weights[:400]]
    found = auc(score, bootstrap)
    assert found["mean"] == pytest.approx(plain(np.ones(7)))
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(resampled, [0.025, 0.975]))


def test_a_score_that_tells_all_apart_has_an_auc_of_1_and_one_that_tells_nothing_a_half():
    real = np.ones((6, 1))
    assert auc(np.concatenate([real, np.zeros((6, 3))], axis=1), of_each(range(6)))["low"] == 1.0
    assert auc(np.ones((6, 4)), of_each(range(6))) == {"mean": 0.5, "low": 0.5, "high": 0.5}
