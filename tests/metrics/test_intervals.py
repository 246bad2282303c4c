"""Bootstrap over users against a naive loop, and its coverage."""

import numpy as np
import pytest

from prorl.metrics.intervals import UserBootstrap, holm


def test_means_equal_those_of_resampled_users_prompt_by_prompt():
    user = np.array([7, 3, 7, 7, 9, 3])
    values = np.array([1.0, 2.0, 4.0, 0.5, -3.0, 10.0])
    bootstrap = UserBootstrap.of_users(user, 300, seed=0)
    assert (bootstrap.weights.sum(1) == 3).all()  # as many users are drawn as there are
    names = np.unique(user)
    means = []
    for weights in bootstrap.weights:
        drawn = [
            value
            for name, times in zip(names, weights, strict=True)
            for value in np.tile(values[user == name], int(times))
        ]
        means.append(np.mean(drawn))
    result = bootstrap.mean(values)
    assert result["mean"] == pytest.approx(values.mean())
    assert [result["low"], result["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_resamples_repeat_with_their_seed():
    user = np.arange(20)
    first, again, other = (UserBootstrap.of_users(user, 50, seed).weights for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_intervals_cover_the_true_mean_of_correlated_prompts():
    """Prompts of a user share a deviation: intervals over prompts would be far too narrow."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(60), 8)
    covered = 0
    for trial in range(200):
        values = 2.0 + np.repeat(rng.normal(size=60), 8) + 0.1 * rng.normal(size=480)
        interval = UserBootstrap.of_users(user, 400, seed=trial).mean(values)
        covered += interval["low"] <= 2.0 <= interval["high"]
    assert 0.89 <= covered / 200 <= 0.99


def test_a_constant_difference_is_certain():
    interval = UserBootstrap.of_users(np.array([1, 1, 2, 3]), 100, seed=0).mean(np.full(4, 0.25))
    assert interval == {"mean": 0.25, "low": pytest.approx(0.25), "high": pytest.approx(0.25)}


def test_holm_by_hand():
    """The smallest of three times 3, the next times 2, the last itself, and none below the one before."""
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.5, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_difference_has_the_p_value_of_its_resamples():
    bootstrap = UserBootstrap.of_users(np.arange(40), 199, seed=1)
    values = np.random.default_rng(0).normal(0.2, 1.0, 40)
    found = bootstrap.difference(values)
    means = bootstrap.weights @ values / 40
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    assert 0 < beyond < 100
    assert found == bootstrap.mean(values) | {"p": pytest.approx(2 * (beyond + 1) / 200)}
    assert bootstrap.difference(np.ones(40))["p"] == 2 / 200
    assert bootstrap.difference(np.zeros(40))["p"] == 1
