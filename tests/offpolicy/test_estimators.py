"""Estimators on examples worked out by hand, and their intervals against plain loops."""

import numpy as np
import pytest

from prorl.errors import DataError
from prorl.offpolicy.paths import Values, cascade_doubly_robust, per_decision_ips
from prorl.offpolicy.single import ips, snips
from prorl.offpolicy.slates import pi, pi_multiple, pi_single, slate_weights, wpi
from prorl.offpolicy.sums import bootstrap, jackknife

SLATE = (pi, wpi, pi_single, pi_multiple)


def ratios_to_first(actions):
    """Y of the policy that takes action 0 in every slot, where two actions were drawn evenly."""
    return np.where(np.array(actions) == 0, 2.0, 0.0)


def test_slates_of_two_on_a_balanced_log():
    ratios, rewards = ratios_to_first([(0, 0), (0, 1), (1, 0), (1, 1)]), np.array([1, 0.6, 0.3, 0.1])
    assert slate_weights(ratios).tolist() == [3, 1, 1, -1]
    for estimator in SLATE:
        assert estimator(ratios, rewards).value == pytest.approx(0.95, abs=1e-12)


def test_slates_of_two_on_a_log_that_is_not_balanced():
    ratios = ratios_to_first([(0, 0), (0, 0), (0, 1), (1, 0), (1, 1)])
    rewards = np.array([1, 0.8, 0.6, 0.3, 0.1])
    expected = [1.24, 0.8857143, 0.8, 0.8]
    for estimator, value in zip(SLATE, expected, strict=True):
        assert estimator(ratios, rewards).value == pytest.approx(value, abs=1e-7)
    # The coefficients: b = 1.1, and w = 1.16 and 1.04 for the slots.
    single = pi_single(ratios, rewards).terms.sum(0)
    assert single[2] / single[3] == pytest.approx(1.1)
    multiple = pi_multiple(ratios, rewards).terms.sum(0)
    assert multiple[4:6] / multiple[6:8] == pytest.approx([1.16, 1.04])


def test_for_slates_of_one_pi_is_ips_wpi_is_snips_and_the_control_variates_are_one():
    ratios = ratios_to_first([0, 0, 1, 1, 1])
    rewards = np.array([1, 0.8, 0.6, 0.3, 0.1])
    assert ips(ratios, rewards).value == pytest.approx(0.72)
    assert snips(ratios, rewards).value == pytest.approx(0.9)
    values = [estimator(ratios[:, None], rewards).value for estimator in SLATE]
    assert values == pytest.approx([0.72, 0.9, 0.864, 0.864])
    terms = pi_single(ratios[:, None], rewards).terms.sum(0)
    assert terms[2] / terms[3] == pytest.approx(0.72)


def test_where_policies_agree_every_estimator_gives_the_mean_reward():
    rewards = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    ratios = np.ones_like(rewards)
    for estimator in (ips, snips):
        assert estimator(ratios[:, 0], rewards[:, 0]).value == pytest.approx(2 / 3)
    for estimator in SLATE:
        assert estimator(ratios, rewards.sum(1)).value == pytest.approx(4 / 3)
    assert per_decision_ips(ratios, rewards).value == pytest.approx(4 / 3)


def test_ratios_of_sums_do_not_exist_without_weight():
    assert np.isnan(snips(np.zeros(3), np.ones(3)).value)
    assert snips(np.zeros(3), np.ones(3)).n_effective == 0
    assert np.isnan(wpi(np.zeros((3, 2)), np.ones(3)).value)  # G = -1
    assert ips(np.zeros(3), np.ones(3)).value == 0


def test_steps_of_a_path_are_weighed_by_the_items_up_to_them():
    """Paths of 3, 1 and 2 items: w = 2, 1, 3; .5; 1, 0."""
    ratios = np.array([[2, 0.5, 3], [0.5, 1, 1], [1, 0, 1]])
    rewards = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    sums = per_decision_ips(ratios, rewards)
    assert sums.terms[:, 0].tolist() == [6, 0.5, 1]
    assert sums.value == pytest.approx(2.5)
    assert sums.weights.tolist() == [[2, 1, 3], [0.5, 0.5, 0.5], [1, 0, 0]]
    assert sums.largest_weight == 3
    assert sums.n_effective == pytest.approx(min(3.5**2 / 5.25, 1.5**2 / 1.25, 3.5**2 / 9.25))


def test_cascade_doubly_robust_by_hand():
    """Two items, two positions. A path of both, and one that stopped after its first."""
    probabilities = np.array([[[0.8, 0.2], [0.5, 0.25], [0, 0]], [[0.8, 0.2], [0.4, 0.4], [0, 0]]])
    q = np.array([[[1, 0.5], [0.6, 0.2], [9, 9]], [[1, 0.5], [0.4, 0.1], [9, 9]]])
    items = np.array([[2, 1], [1, 0]])
    acts = np.array([[True, True, False], [True, True, False]])
    values = Values.of_distributions(q, probabilities, items, acts)
    assert values.logged == pytest.approx(np.array([[0.5, 0.6], [1, 0]]))
    assert values.expected == pytest.approx(np.array([[0.9, 0.35, 0], [0.9, 0.2, 0]]))
    ratios, rewards = np.array([[0.4, 1.5], [1.6, 1]]), np.array([[1, 0], [1, 0]])
    # .9 + .4 (1 - .5) + .4 .35 + .6 (0 - .6); .9 + 1.6 (1 - 1) + 1.6 .2
    by_hand = [0.9 + 0.2 + 0.14 - 0.36, 0.9 + 0 + 0.32]
    sums = cascade_doubly_robust(ratios, rewards, values)
    assert sums.terms[:, 0] == pytest.approx(by_hand)
    assert sums.value == pytest.approx(np.mean(by_hand))
    nothing = Values(np.zeros((2, 2)), np.zeros((2, 3)))
    assert cascade_doubly_robust(ratios, rewards, nothing).value == per_decision_ips(ratios, rewards).value


@pytest.mark.parametrize("wrong", [-0.1, 0.9])
def test_values_are_not_taken_from_what_is_no_distribution(wrong):
    probabilities = np.array([[[0.8, wrong]]])
    with pytest.raises(DataError, match="target policy: got probabilities from"):
        Values.of_distributions(
            np.ones((1, 1, 2)), probabilities, np.zeros((1, 0), int), np.ones((1, 1), bool)
        )


def test_effective_requests_and_largest_weight():
    sums = ips(np.array([1.0, 1, 0, 2]), np.ones(4))
    assert sums.n_effective == pytest.approx(16 / 6)
    assert sums.largest_weight == 2
    assert ips(np.ones(7), np.ones(7)).n_effective == pytest.approx(7)


def some_log(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(n, 3)), rng.random(n), rng.integers(0, 9, n)


def per_user_loop(estimator, ratios, rewards, user, draws):
    """The estimate anew for every draw of users."""
    values = []
    for names in draws:
        rows = np.concatenate([np.flatnonzero(user == name) for name in names])
        values.append(float(estimator(ratios[rows], rewards[rows]).value))
    return np.array(values)


@pytest.mark.parametrize("estimator", SLATE)
def test_intervals_compute_the_whole_estimator_anew_without_or_with_other_users(estimator):
    ratios, rewards, user = some_log()
    names = np.unique(user)
    sums = estimator(ratios, rewards)
    left_out = [np.setdiff1d(names, [name]) for name in names]
    without = per_user_loop(estimator, ratios, rewards, user, left_out)
    error = np.sqrt((len(names) - 1) * without.var())
    low, high = jackknife(sums, user)
    from scipy.stats import t

    assert [low, high] == pytest.approx(t.interval(0.95, len(names) - 1, sums.value, error))

    weights = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), 199)
    values = per_user_loop(estimator, ratios, rewards, user, [names.repeat(drawn) for drawn in weights])
    low, high = bootstrap(sums, user, 199, seed=3)
    assert [low, high] == pytest.approx([np.sort(values)[4], np.sort(values)[-5]])


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    ratios, rewards, user = some_log()
    sums = wpi(ratios, rewards)
    expected = bootstrap(sums, user, 100, seed=1)
    monkeypatch.setattr("prorl.offpolicy.sums.NUMBERS_AT_ONCE", 30)
    assert bootstrap(sums, user, 100, seed=1) == expected
    assert bootstrap(sums, user, 100, seed=2) != expected


def test_an_interval_is_unbounded_where_resamples_have_no_estimate():
    weights, rewards, user = np.array([0, 0, 1.0]), np.array([1.0, 0, 1]), np.arange(3)
    assert jackknife(snips(weights, rewards), user) == (-np.inf, np.inf)
    assert bootstrap(snips(weights, rewards), user, 200, seed=0) == (-np.inf, np.inf)


@pytest.mark.parametrize("interval", [jackknife, lambda *of: bootstrap(*of, 10, 0)])
def test_an_interval_needs_two_users(interval):
    with pytest.raises(DataError, match="an interval needs requests of 2 users or more; got 1"):
        interval(ips(np.ones(4), np.ones(4)), np.zeros(4))
