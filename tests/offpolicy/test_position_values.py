"""A model of rewards that knows positions alone: worked by hand, and the target policy's stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.outcomes import ACCEPTED, LEFT, OUTCOMES, REFUSED
from prorl.offpolicy.policy import AskedTarget, action_log_probs
from prorl.offpolicy.position_values import PositionValues, from_here_on, halves, stop_probabilities
from tests.offpolicy.test_policy import N_ITEMS, a_guide, write_log


def test_a_half_learns_what_the_other_half_earned_from_each_position_on():
    earned = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    shown = np.array([[True, True, True], [True, True, False], [True, False, False]])
    found = from_here_on(earned * shown, shown, np.array([False, False, True]))
    # The second half's one request earned 0 with its one item. The first half's earned 2 and 2 from the first
    # item on, 1 and 1 from the second, and the longer one 1 from the third.
    assert found.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [2, 1, 1, 0]]


def test_all_requests_of_a_user_are_in_one_half_and_halves_are_even():
    user = np.array([5, 9, 5, 7, 9, 2])
    second = halves(user, seed=3)
    assert all(len(set(second[user == name])) == 1 for name in user)
    assert sum(second[np.unique(user, return_index=True)[1]]) == 2
    drawn = {tuple(halves(np.arange(6), seed)) for seed in range(5)}
    assert len(drawn) > 1


def test_a_stop_has_what_items_leave(tmp_path):
    guide = a_guide(max_length=3)
    log = write_log(tmp_path, guide)
    found = stop_probabilities(guide, log, 0.7)
    assert found.shape == (len(log), 4)
    assert not found[:, [0, 3]].any(), "a path holds an item, and none makes a stop behind the longest"
    for number in range(0, len(log), 5):
        for position in range(1, min(3, log.length[number] + 1)):
            before = log.paths[number, :position]
            items = torch.arange(1, N_ITEMS + 1)
            paths = torch.cat([torch.from_numpy(before).expand(N_ITEMS, -1), items[:, None]], dim=1)
            history = torch.from_numpy(log.history[number]).expand(N_ITEMS, -1)
            target = torch.full((N_ITEMS,), log.target[number])
            each = action_log_probs(guide, history, target, paths, 0.7)[:, position].exp()
            assert found[number, position] == pytest.approx(1 - float(each.sum()), abs=1e-9)


def test_stops_follow_the_rules_that_the_log_has(tmp_path):
    guide = a_guide(max_length=4, min_length=2)
    log = write_log(tmp_path, guide)
    assert not stop_probabilities(guide, log, 1.0)[:, :2].any()
    freer = replace(log, rules=tuple(rules.replace(min_length=1) for rules in log.rules))
    assert (stop_probabilities(guide, freer, 1.0)[:, 1] > 0).all()


def test_values_stand_where_something_was_chosen_and_count_the_stop(tmp_path):
    guide = a_guide(max_length=3)
    log = write_log(tmp_path, guide)
    outcome = np.where(log.item % 2, OUTCOMES.index(ACCEPTED), OUTCOMES.index(REFUSED))
    last = log.position == log.length[log.request] - 1
    outcome[last & (log.request == 0)] = OUTCOMES.index(LEFT)
    log = replace(log, outcome=outcome)
    values = PositionValues(guide, 0.7, seed=1)(log)
    shown = log.paths > 0
    gains = log.by_position((log.outcome == OUTCOMES.index(ACCEPTED)).astype(float), 0.0)
    q = from_here_on(gains, shown, halves(log.user, 1))
    assert values.logged.tolist() == (q[:, :-1] * shown).tolist()
    stops = stop_probabilities(guide, log, 0.7)
    assert values.expected == pytest.approx(np.where(log.acts, q * (1 - stops), 0))
    assert not values.expected[0, log.length[0] :].any(), "behind the item at which the user left"


def test_the_logging_policy_itself_is_near_what_it_earned_with_less_noise(tmp_path):
    """With ratios of 1 `per_decision_ips` is the logged mean; where every item is accepted, all its noise is
    that of lengths, of which the model explains some.
    """
    guide = a_guide(max_length=4)
    log = write_log(tmp_path, guide, n_prompts=40, m=4)
    log = replace(log, outcome=np.full(len(log.item), OUTCOMES.index(ACCEPTED)))
    plain = estimate(log, AskedTarget(guide), "per_decision_ips")
    robust = estimate(log, AskedTarget(guide), "cascade_doubly_robust", values=PositionValues(guide))
    assert plain.value == pytest.approx(plain.logged, rel=1e-6)
    assert robust.value == pytest.approx(plain.logged, abs=0.15)
    assert robust.high - robust.low < plain.high - plain.low
