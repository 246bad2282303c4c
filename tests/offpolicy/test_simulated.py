"""Estimates from simulated logs, whose truth is known: unbiased, and inside their intervals as often as said.

Shape key: `g` independent logs, `n` requests, `K` slots, `t` path position.
"""

import numpy as np
import pytest

from prorl.offpolicy.paths import Values, cascade_doubly_robust, per_decision_ips
from prorl.offpolicy.single import ips, snips
from prorl.offpolicy.slates import pi, pi_multiple, pi_single, wpi
from prorl.offpolicy.sums import Sums, bootstrap, jackknife

N_ITEMS, N_CONTEXTS, LONGEST = 3, 4, 3


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def drawn(rng, probabilities):
    """One choice for each distribution [.., c]."""
    return (rng.random(probabilities.shape[:-1])[..., None] > probabilities.cumsum(-1)).sum(-1)


def covered(sums, truth, user, interval):
    """The share of the independent logs whose interval holds the truth."""
    found = [interval(Sums(terms, sums.estimate, sums.weights), user) for terms in sums.terms]
    return np.mean([low <= truth <= high for low, high in found])


def assert_covered(sums, truth, user):
    """Intervals of 95% hold the truth as often, within what so many logs can tell: all by the jackknife, and
    the first 120 by the bootstrap.
    """
    assert 0.92 <= covered(sums, truth, user, jackknife) <= 0.98
    first = Sums(sums.terms[:120], sums.estimate, sums.weights[:120])
    assert 0.88 <= covered(first, truth, user, lambda *of: bootstrap(*of, 199, seed=0)) <= 0.99


def assert_centred(values, truth):
    """The mean of independent estimates is within 4 standard errors of the truth."""
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("estimator", [ips, snips])
def test_single_items(estimator):
    """400 logs of 300 requests by 100 users, whose acceptance has a deviation of their own."""
    rng = np.random.default_rng(1)
    logging, target = softmax(rng.normal(size=(4, 6))), softmax(rng.normal(size=(4, 6)))
    accepts = rng.uniform(0.2, 0.8, size=(4, 6))
    truth = (target * accepts).sum(1).mean()
    context = rng.integers(4, size=(400, 300))
    item = drawn(rng, logging[context])
    user = np.arange(300) % 100
    own = rng.uniform(-0.2, 0.2, size=(400, 100))[:, user]
    rewards = (rng.random((400, 300)) < accepts[context, item] + own).astype(float)
    sums = estimator((target / logging)[context, item], rewards)
    assert_centred(sums.value, truth)
    assert_covered(sums, truth, user)
    assert covered(sums, truth + 0.15, user, jackknife) < 0.7  # it can fail


def slate_logs(rng, n_logs, n_slots, n=600, n_actions=10):
    """Y and rewards [g, n, K] of uniform slates, for the policy that takes action 0 everywhere."""
    slots = rng.normal(0.5 / n_slots, 0.1 / n_slots, size=(n_slots, n_actions))
    actions = rng.integers(n_actions, size=(n_logs, n, n_slots))
    probability = slots[np.arange(n_slots), actions].sum(-1)
    rewards = (rng.random((n_logs, n)) < probability).astype(float)
    return np.where(actions == 0, float(n_actions), 0.0), rewards, slots[:, 0].sum()


@pytest.mark.parametrize(
    ("n_slots", "rmse"), [(2, [0.122, 0.092, 0.088, 0.088]), (5, [0.197, 0.156, 0.140, 0.140])]
)
def test_slates_have_the_known_errors(n_slots, rmse):
    """Root mean squared errors of PI, wPI, and one or several control variates: 600 requests, ten actions."""
    rng = np.random.default_rng(2)
    errors = [[] for _ in rmse]
    for _ in range(10):
        ratios, rewards, truth = slate_logs(rng, 100, n_slots)
        for found, estimator in zip(errors, (pi, wpi, pi_single, pi_multiple), strict=True):
            found.append(estimator(ratios, rewards).value - truth)
    errors = np.array(errors).reshape(4, -1)
    assert np.sqrt((errors**2).mean(1)) == pytest.approx(rmse, rel=0.08)
    assert (abs(errors.mean(1)) < 0.01).all()


def test_many_slots_break_the_weighted_estimator_alone():
    rng = np.random.default_rng(5)
    ratios, rewards, truth = slate_logs(rng, 1000, 10, n=200)
    assert np.isnan(wpi(ratios, rewards).value).any()
    for estimator in (pi, pi_single, pi_multiple):
        assert abs(estimator(ratios, rewards).value.mean() - truth) < 0.05


def test_several_control_variates_are_better_than_one_where_slots_differ():
    """The first slot of three decides alone: its action 0 is worth .9, any other .1."""
    rng = np.random.default_rng(3)
    actions = rng.integers(10, size=(500, 300, 3))
    rewards = (rng.random((500, 300)) < np.where(actions[..., 0] == 0, 0.9, 0.1)).astype(float)
    ratios = np.where(actions == 0, 10.0, 0.0)
    errors = [estimator(ratios, rewards).value - 0.9 for estimator in (pi, pi_single, pi_multiple)]
    plain, single, multiple = (np.sqrt((error**2).mean()) for error in errors)
    assert multiple < 0.85 * single
    assert single < 0.85 * plain


@pytest.mark.parametrize("estimator", [pi, wpi, pi_single, pi_multiple])
def test_intervals_of_slates(estimator):
    """One action of three, so that weights are not too rare for 300 requests."""
    ratios, rewards, truth = slate_logs(np.random.default_rng(4), 300, 3, n=300, n_actions=3)
    sums = estimator(ratios, rewards)
    assert_centred(sums.value, truth)
    assert_covered(sums, truth, np.arange(300))


class PathWorld:
    """Paths of 1 to 3 of three items; from the second position on a policy may stop, and the user may leave.

    What follows depends on context and last item alone; item 0 stands before the first. `stop` is the last
    choice of a policy [context, last, choice].
    """

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.accepts = rng.uniform(0.1, 0.9, size=(N_CONTEXTS, N_ITEMS + 1, N_ITEMS + 1))
        self.leaves = rng.uniform(0.0, 0.4, size=(N_CONTEXTS, N_ITEMS + 1))

        def policy():
            logits = 0.7 * rng.normal(size=(N_CONTEXTS, N_ITEMS + 1, N_ITEMS + 1))
            logits[:, 0, -1] = -np.inf  # no empty path
            return softmax(logits)

        self.logging, self.target = policy(), policy()
        self.q = self._reward_to_go()
        self.value = (self.target[:, 0, :-1] * self.q[0, :, 0]).sum(1).mean()

    def _reward_to_go(self):
        """Q [t, context, last, item]: what an item earns from its position on under the target policy."""
        q = np.zeros((LONGEST + 1, N_CONTEXTS, N_ITEMS + 1, N_ITEMS))
        for t in reversed(range(LONGEST)):
            later = (self.target[..., :-1] * q[t + 1]).sum(-1)  # [context, last]
            stays = 1 - self.leaves[:, 1:]
            q[t] = self.accepts[..., 1:] + (stays * later[:, 1:])[:, None]
        return q

    def log(self, rng, *shape):
        """Items [.., t] (0 behind the end), rewards, and where the logging policy acts [.., t + 1]."""
        context = rng.integers(N_CONTEXTS, size=shape)
        items = np.zeros((*shape, LONGEST), dtype=int)
        rewards, acts = np.zeros((*shape, LONGEST)), np.zeros((*shape, LONGEST + 1), dtype=bool)
        last, here = np.zeros(shape, dtype=int), np.ones(shape, dtype=bool)
        for t in range(LONGEST):
            acts[..., t] = here
            choice = drawn(rng, self.logging[context, last])
            here = here & (choice < N_ITEMS)
            last = np.where(here, choice + 1, last)
            items[..., t] = np.where(here, last, 0)
            before = items[..., t - 1] if t else np.zeros(shape, dtype=int)
            rewards[..., t] = here & (rng.random(shape) < self.accepts[context, before, last])
            here = here & (rng.random(shape) >= self.leaves[context, last])
        return context, items, rewards, acts

    def ratios(self, context, items):
        before = np.concatenate([np.zeros_like(items[..., :1]), items[..., :-1]], axis=-1)
        place = context[..., None], before, np.maximum(items - 1, 0)
        return np.where(items > 0, self.target[place] / self.logging[place], 1.0)

    def values(self, context, items, acts, q):
        before = np.concatenate([np.zeros_like(items[..., :1]), items], axis=-1)
        place = np.arange(LONGEST + 1), context[..., None], before
        return Values.of_distributions(q[place], self.target[..., :-1][place[1:]], items, acts)


@pytest.fixture(scope="module")
def world():
    return PathWorld(seed=0)


def test_the_worlds_value_is_what_the_target_policy_earns(world):
    played = PathWorld(seed=0)
    played.logging = world.target
    *_, rewards, _ = played.log(np.random.default_rng(9), 200_000)
    earned = rewards.sum(-1)
    assert abs(earned.mean() - world.value) < 4 * earned.std() / np.sqrt(len(earned))


def test_paths_with_stops_and_users_who_leave(world):
    """400 logs of 300 requests; the doubly robust estimates with the true Q, and with one that is wrong."""
    rng = np.random.default_rng(6)
    context, items, rewards, acts = world.log(rng, 400, 300)
    assert {0, 1, 2, 3} > set(np.unique((items > 0).sum(-1)).tolist()) == {1, 2, 3}
    ratios, user = world.ratios(context, items), np.arange(300)
    wrong = world.q * rng.uniform(0, 2, size=world.q.shape) + 0.5
    estimates = {
        "per decision": per_decision_ips(ratios, rewards),
        "true Q": cascade_doubly_robust(ratios, rewards, world.values(context, items, acts, world.q)),
        "wrong Q": cascade_doubly_robust(ratios, rewards, world.values(context, items, acts, wrong)),
    }
    for sums in estimates.values():
        assert_centred(sums.value, world.value)
        assert_covered(sums, world.value, user)
    deviation = {name: sums.value.std() for name, sums in estimates.items()}
    assert deviation["true Q"] < 0.8 * deviation["per decision"]


def test_where_a_path_was_stopped_the_doubly_robust_estimate_needs_what_was_expected(world):
    """Without the expectation at the stop the estimate is far off: the test above would see it."""
    context, items, rewards, acts = world.log(np.random.default_rng(7), 100, 300)
    ratios, behind = world.ratios(context, items), (items > 0).sum(-1)
    without = acts & (np.arange(LONGEST + 1) < behind[..., None])
    sums = cascade_doubly_robust(ratios, rewards, world.values(context, items, without, world.q))
    assert abs(sums.value.mean() - world.value) > 20 * sums.value.std() / np.sqrt(100)
