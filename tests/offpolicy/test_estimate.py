"""The estimate from a log: every estimator, what is refused, and what is warned of."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.offpolicy.estimate import REWARDS, estimate
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.paths import Values, cascade_doubly_robust, per_decision_ips
from prorl.offpolicy.sums import bootstrap, jackknife
from tests.offpolicy.logs import FREE, log_of

ACCEPTED, REFUSED, LEFT, UNANSWERED = range(len(OUTCOMES))
SLATES = FREE.replace(min_length=2, max_length=2)


def fixed(*values):
    """A target policy whose probabilities are written out."""
    return lambda log: np.array(values)


def single_log(n=200, seed=0):
    """One item of two: 1 drawn with .6 and accepted with .8, 2 with .4 and accepted with .3."""
    rng = np.random.default_rng(seed)
    items = 1 + (rng.random((n, 1)) >= 0.6)
    accepted = rng.random((n, 1)) < np.where(items == 1, 0.8, 0.3)
    return log_of(
        items, np.where(items == 1, 0.6, 0.4), np.where(accepted, ACCEPTED, REFUSED), np.arange(n) % 50
    )


def even(log):
    return np.full(len(log.item), 0.5)


def path_log(rules=FREE):
    """Paths of three, one and two items; at the second the user left."""
    items = np.array([[1, 2, 3], [1, 0, 0], [2, 1, 0]])
    outcomes = np.array([[ACCEPTED, REFUSED, ACCEPTED], [LEFT, 0, 0], [ACCEPTED, ACCEPTED, 0]])
    return log_of(items, np.where(items > 0, 0.5, 0), outcomes, np.array([0, 1, 1]), rules)


def test_single_items_are_weighed_by_target_probability_over_propensity():
    log = single_log()
    weights = np.where(log.item == 1, 0.5 / 0.6, 0.5 / 0.4)
    rewards = (log.outcome == ACCEPTED).astype(float)
    found = estimate(log, even, "ips", interval="normal")
    assert found.value == pytest.approx((weights * rewards).mean())
    assert estimate(log, even, "snips").value == pytest.approx((weights * rewards).sum() / weights.sum())
    assert found.logged == pytest.approx(rewards.mean())
    assert (found.estimator, found.interval, found.n_requests, found.n_users) == ("ips", "normal", 200, 50)
    assert found.n_effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert found.largest_weight == pytest.approx(1.25)
    assert found.warnings == ()
    assert found.low < 0.55 < found.high
    assert json.loads(json.dumps(asdict(found)))["value"] == found.value


def test_intervals_are_over_users_and_repeat_with_their_seed():
    log = single_log()
    first = estimate(log, even, "snips", seed=1, n_resamples=50)
    assert estimate(log, even, "snips", seed=1, n_resamples=50) == first
    assert estimate(log, even, "snips", seed=2, n_resamples=50) != first
    apart = estimate(replace(log, user=np.arange(200)), even, "snips", seed=1, n_resamples=50)
    assert (apart.value, apart.n_users) == (first.value, 200)
    assert (apart.low, apart.high) != (first.low, first.high)


@pytest.mark.parametrize(
    ("estimator", "value"), [("pi", 1.24), ("wpi", 0.8857143), ("pi_single", 0.8), ("pi_multiple", 0.8)]
)
def test_a_slates_reward_is_the_sum_over_its_slots(estimator, value):
    """The five slates of the estimators' own test, whose rewards 1, .8, .6, .3 and .1 are sums of two."""
    items = np.array([(1, 1), (1, 1), (1, 2), (2, 1), (2, 2)])
    outcomes = np.array([(0, 0), (0, 1), (1, 1), (0, 2), (1, 2)])
    log = log_of(items, np.full((5, 2), 0.5), outcomes, rules=SLATES)
    found = estimate(
        log,
        lambda log: (log.item == 1).astype(float),
        estimator,
        rewards={"accepted": 0.5, "refused": 0.3, "left": -0.2},
    )
    assert found.value == pytest.approx(value, abs=1e-7)
    assert found.logged == pytest.approx(0.56)
    assert found.largest_weight == 3


def test_steps_of_paths_are_weighed_by_the_items_before_them_too():
    probabilities = [0.25, 0.5, 1.0, 0.75, 0.1, 0.2]
    ratios = np.array([[0.5, 1, 2], [1.5, 1, 1], [0.2, 0.4, 1]])
    rewards = np.array([[1, 0, 1], [-1, 0, 0], [1, 1, 0]])
    sums = per_decision_ips(ratios, rewards)
    gains = dict(REWARDS) | {"left": -1.0}
    found = estimate(path_log(), fixed(*probabilities), "per_decision_ips", rewards=gains, interval="normal")
    assert found.value == pytest.approx((0.5 + 1 - 1.5 + 0.2 + 0.08) / 3)
    assert (found.low, found.high) == pytest.approx(jackknife(sums, np.array([0, 1, 1])))
    assert found.logged == pytest.approx(3 / 3)
    assert found.largest_weight == 1.5
    values = Values(np.where(ratios == 1, 0, 0.3), np.zeros((3, 4)))
    values.expected[[0, 2], [0, 2]] = 0.7
    robust = estimate(
        path_log(), fixed(*probabilities), "cascade_doubly_robust", rewards=gains, values=lambda log: values
    )
    sums = cascade_doubly_robust(ratios, rewards, values)
    assert robust.value == pytest.approx(float(sums.value))
    assert (robust.low, robust.high) == pytest.approx(bootstrap(sums, np.array([0, 1, 1]), 2000, 0))


def test_an_item_without_an_answer_is_worth_nothing_unless_its_worth_is_named():
    log = single_log()
    silent = replace(log, outcome=np.where(log.outcome == REFUSED, UNANSWERED, log.outcome))
    rewards = {"accepted": 1.0, "refused": -1.0, "left": 0.0}
    accepted = (log.outcome == ACCEPTED).mean()
    assert estimate(silent, even, "ips", rewards=rewards).logged == pytest.approx(accepted)
    named = rewards | {"unanswered": -1.0}
    assert estimate(silent, even, "ips", rewards=named).logged == pytest.approx(2 * accepted - 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"estimator": "dr"}, "estimator: got 'dr', allowed: ips, snips, pi, wpi, pi_single, "),
        ({"interval": "exact"}, "interval: got 'exact', allowed: bootstrap, normal"),
        ({"n_resamples": 0}, "n_resamples: got 0, allowed: 1 or more"),
        ({"rewards": {"accepted": 1.0}}, "rewards: got {'accepted': 1.0}, allowed: a number for each of"),
        ({"rewards": dict(REWARDS) | {"left": np.nan}}, "allowed: a number for each of"),
        ({"values": lambda log: None}, "values of ips: got a model's, allowed: none"),
        ({"estimator": "cascade_doubly_robust"}, "values of cascade_doubly_robust: got none, allowed"),
    ],
)
def test_arguments_that_are_not_allowed(arguments, told):
    with pytest.raises(ConfigError) as error:
        estimate(single_log(), even, **({"estimator": "ips"} | arguments))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("log", "target", "estimator", "told"),
    [
        (path_log(), even, "ips", "ips: request 'r0': got 3 items, allowed: one item; a path's"),
        (path_log(), even, "pi", "pi: request 'r1': got 1 items, allowed: as many as the first"),
        (single_log(), fixed(0.5), "ips", "target policy: got probabilities of shape (1,), allowed: (200,)"),
        (single_log(), lambda log: even(log) * 2.1, "ips", "request 'r0': position 0: got 1.05, allowed: 0"),
        (single_log(), lambda log: even(log) * np.nan, "ips", "request 'r0': position 0: got nan"),
        (
            single_log(),
            lambda log: even(log) * 0,
            "snips",
            "weights of all requests sum to 0, allowed: above 0",
        ),
        (replace(single_log(), user=np.zeros(200)), even, "ips", "requests of 2 users or more; got 1"),
    ],
)
def test_what_allows_no_estimate_is_refused(log, target, estimator, told):
    with pytest.raises(DataError) as error:
        estimate(log, target, estimator)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (SLATES.replace(forbid=["repeats"]), "rules: forbid: got ['repeats'], allowed: lists without 'rep"),
        (SLATES.replace(min_length=1), "rules: min_length: got 1, allowed: 2, since a slate's number"),
    ],
)
def test_slots_must_have_been_filled_independently(rules, told):
    log = log_of(np.array([[1, 2], [2, 1]]), np.full((2, 2), 0.5), np.zeros((2, 2), int), rules=rules)
    with pytest.raises(DataError) as error:
        estimate(log, even, "pi")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "logged",
            (1, 1),
            "values: logged: request 'r1': position 1: got 1.0, allowed: numbers, and 0 where",
        ),
        ("expected", (1, 1), "values: expected: request 'r1': position 1: got 1.0"),  # the user had left
    ],
)
def test_values_stand_where_something_was_chosen(name, change, told):
    values = Values(np.zeros((3, 3)), np.zeros((3, 4)))
    values.expected[[0, 2], [3, 2]] = 1.0  # where the logging policy stopped
    assert estimate(path_log(), even, "cascade_doubly_robust", values=lambda log: values).value
    getattr(values, name)[change] = 1.0
    with pytest.raises(DataError) as error:
        estimate(path_log(), even, "cascade_doubly_robust", values=lambda log: values)
    assert told in str(error.value)
    with pytest.raises(DataError, match=r"values: got arrays of shapes \(\(3, 3\), \(3, 3\)\), allowed"):
        estimate(
            path_log(),
            even,
            "cascade_doubly_robust",
            values=lambda log: Values(np.zeros((3, 3)), np.zeros((3, 3))),
        )


def test_a_target_policy_with_other_choices_where_the_logging_policy_had_one_is_refused():
    log = replace(single_log(), propensity=np.where(np.arange(200) < 198, 0.5, 1.0))
    told = "request 'r198': position 0: propensity 1, probability under the target policy 0.5, allowed: a"
    for estimator in ("ips", "snips", "pi"):
        with pytest.raises(DataError) as error:
            estimate(log, even, estimator)
        assert str(error.value).startswith(told)
        assert str(error.value).endswith("2 of 200 rows are so")
    certain = estimate(log, lambda log: np.maximum(log.propensity, 0.5), "ips")
    assert certain.value == pytest.approx(certain.logged)


def test_a_path_may_be_certain_where_the_target_policy_may_stop_instead():
    """Behind the shortest path a target policy's other choice may be the stop, which earns nothing."""
    certain = np.array([0.5, 0.5, 1.0, 0.5, 0.5, 0.5])
    log = replace(path_log(), propensity=certain)
    assert estimate(log, even, "per_decision_ips").value
    longer = FREE.replace(min_length=3)
    log = replace(path_log(longer), propensity=certain)
    with pytest.raises(DataError, match="request 'r0': position 2: propensity 1"):
        estimate(log, even, "per_decision_ips")
    assert estimate(log, even, "per_decision_ips", rules=FREE).value  # which stops earlier


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (FREE, "target policy: forbid: got [], allowed: lists with 'history', as in the log's rules"),
        (FREE.replace(forbid=["history"], max_length=12), "max_length: got 12, allowed: at most 10"),
        (Decoding(constrained=False, forbid=[], min_length=0, max_length=9), "forbid: got []"),
    ],
)
def test_a_target_policy_that_may_show_what_the_log_never_does_is_refused(rules, told):
    log = path_log(FREE.replace(forbid=["history"]))

    class Target:
        def __call__(self, log):
            return even(log)

    Target.rules = rules
    for arguments in ((even, {"rules": rules}), (Target(), {})):
        with pytest.raises(DataError) as error:
            estimate(log, arguments[0], "per_decision_ips", **arguments[1])
        assert told in str(error.value)
    fewer = FREE.replace(forbid=["history", "target"], max_length=5, min_length=2)
    assert estimate(log, Target(), "per_decision_ips", rules=fewer).value


def test_a_target_policy_that_writes_non_items_is_refused_where_the_log_has_none():
    rules = Decoding(constrained=False, forbid=[], min_length=0, max_length=10)
    with pytest.raises(DataError, match="constrained: got false, allowed: true"):
        estimate(path_log(), even, "per_decision_ips", rules=rules)


def test_a_ratio_that_does_not_average_one_is_warned_of():
    """Item 3, which takes half of the target policy, is never logged; or propensities are halved."""

    def unseen(log):
        return np.full(len(log.item), 0.25)

    (told,) = estimate(single_log(), unseen, "ips").warnings
    assert told.startswith("position 0: the target policy's ratio to the propensity averages 0.")
    assert "it has weight where the logging policy has little or none, or propensities are too high" in told
    low = replace(single_log(), propensity=single_log().propensity / 2)
    (told,) = estimate(low, even, "ips").warnings
    assert told.endswith("propensities are too low")


def test_a_log_with_true_propensities_is_hardly_ever_warned_of():
    """3 standard errors are exceeded by chance once in 370 times."""
    found = [estimate(single_log(seed=seed), even, "ips", interval="normal") for seed in range(100)]
    assert sum(len(one.warnings) for one in found) <= 2


def test_ratios_of_paths_are_checked_given_the_items_before_them_up_to_the_shortest_path():
    """Two items, drawn evenly: the target policy prefers 1, then shows an unlogged one half of the time."""
    rng = np.random.default_rng(0)
    items = rng.integers(1, 3, size=(400, 2))
    target = np.where(items == 1, 0.9, 0.1) * [1, 0.5]

    def logged(shortest):
        rules = FREE.replace(min_length=shortest, max_length=2)
        return log_of(items, np.full((400, 2), 0.5), np.zeros((400, 2), int), rules=rules)

    (told,) = estimate(logged(2), fixed(*target.ravel()), "per_decision_ips").warnings
    assert told.startswith("position 1: the target policy's ratio to the propensity averages 0.4")
    assert (
        estimate(logged(1), fixed(*target.ravel()), "per_decision_ips").warnings == ()
    )  # it may have stopped


def test_few_effective_requests_and_intervals_without_bounds_are_warned_of():
    log = single_log(30)

    def one_item(log):
        return np.where(np.arange(30) == 0, 0.3, 0.0)

    found = estimate(log, one_item, "snips")
    assert (found.low, found.high) == (None, None)
    assert found.n_effective == pytest.approx(1)
    assert any(
        told.startswith("the weights leave 1.0 effective requests of 30: below 50") for told in found.warnings
    )
    assert any(told.startswith("the interval has no bounds") for told in found.warnings)
