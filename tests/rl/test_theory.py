"""What the paper claims of centering, estimators and path length, on a toy whose expectations are exact:
every outcome is enumerated.

Source: ProRL (arXiv 2605.28293). Where a claim holds up to a factor, or not everywhere, the test says so.
Shape key: `p` paths, `o` outcomes of m rollouts, `m` rollouts, `t` path position, `c` choices (the stop and
the items).
"""

import math

import pytest
import torch

from prorl.rl import advantages
from prorl.rl.advantages import against_others, prefix_specific, reward_to_go
from prorl.rl.centering import centered, collected
from tests.rl import toy
from tests.rl.short_runs import advantages_by

# Like a pre-trained policy: it prefers one item, and often stops early. Its paths are as likely as multiples
# of 1 / 2048.
PRETRAINED = toy.logits_of(stop=[0.0, 0.5, 0.5, 0.5], first_item=0.75)
INDIFFERENT = toy.logits_of(stop=[0.0, 0.5, 0.5, 0.5], first_item=0.5)


def centered_by_warmup(rewards, warmup_policy):
    """Step rewards [p, t] of all paths, centred by their moments in a warm-up whose paths are as frequent as
    they are likely.
    """
    moments = collected(toy.step_rewards(rewards, toy.proportionate_rollouts(warmup_policy, 2048)))
    steps = toy.step_rewards(rewards, torch.arange(len(toy.PATHS)))
    return centered(steps, moments, {"ctr": 0.0, "ioi": 1.0, "ior": 0.0}, toy.MAX_LENGTH)[0]


def positive_rewards(seed):
    """Step rewards that are worth 1 on average over tables, as increments of interest mostly are."""
    return toy.path_rewards(1 + toy.random_table(seed))


@pytest.mark.parametrize("seed", range(3))
def test_centering_makes_one_more_step_worth_nothing_on_average(seed):
    """On average over the steps of all positions: what a step is worth at one position may differ, and is
    what the policy is to learn.
    """
    rewards = positive_rewards(seed)
    probability = toy.probabilities(PRETRAINED)
    assert toy.expectation(probability, rewards.sum(-1)) > 0.5
    values = centered_by_warmup(rewards, PRETRAINED)
    assert toy.expectation(probability, values.sum(-1)).item() == pytest.approx(0.0, abs=1e-12)
    assert toy.expectation(probability, values).abs().max() > 0.05


def test_where_steps_are_worth_the_same_everywhere_centering_makes_going_on_worth_as_much_as_stopping():
    gap = toy.random_table(0)[
        ..., 0
    ]  # between the two items, another one in every state, such that their mean is 1
    rewards = toy.path_rewards(1 + torch.stack([0 * gap, 0.25 * gap, -0.75 * gap], dim=-1))
    values = centered_by_warmup(rewards, PRETRAINED)
    goes_on = (toy.PATHS != 0) * toy.probabilities(PRETRAINED)[:, None]
    to_go = reward_to_go(values, 1.0)[:, :-1]
    torch.testing.assert_close(
        (goes_on * to_go).sum(0), torch.zeros(toy.MAX_LENGTH).double(), rtol=0, atol=1e-12
    )
    # So the policy learns which item to take, and nothing about when to stop; uncentred, each state it can
    # stop in says: go on.
    items, stop = (
        toy.true_gradient(values, PRETRAINED)[..., 1:],
        toy.true_gradient(values, PRETRAINED)[..., 0],
    )
    assert items.abs().max() > 0.05
    torch.testing.assert_close(stop, torch.zeros_like(stop), rtol=0, atol=1e-12)
    assert (toy.true_gradient(rewards, PRETRAINED)[1:, 1:, 0] > 0.01).all()


def factors(name, share, m):
    """By how much the expected gradient at each position [t] is shorter than the true one, where a `share`
    [t] of rollouts acts.
    """
    if name == "position_specific":
        return 1 - (1 - (1 - share) ** m) / (m * share)
    if name == "leave_one_out":
        return 1 - (1 - share) ** (m - 1)
    return torch.full_like(share, (m - 1) / m if name == "grpo" else 1.0)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("name", ["reinforce", "reward_to_go", "grpo", "position_specific", "leave_one_out"])
def test_the_expected_gradient_is_the_true_one_up_to_a_factor_at_each_position(name, m):
    """A rollout's own reward is in its baseline, which shrinks the gradient by (n - 1) / n where n rollouts
    act.

    Who acts at t is settled by earlier choices, and a rollout's do not depend on the others': given that it
    acts, the other m - 1 each act with probability q, the share of rollouts that get as far, and E[1 - 1/n] =
    1 - (1 - (1 - q)^m) / (m q), alone (n = 1) included. So within a position the estimate points the true
    way, but late positions, which few reach, are learnt more slowly than early ones: with half of the
    rollouts stopping at each chance and m = 16, by .94, .94, .88 and .75; with four fifths stopping, by .94,
    .94, .70 and .25. That turns the gradient as a whole: here to a cosine of .988 with the true one for m =
    2, of .994 for m = 3.
    """
    logits, rewards = toy.random_table(1), positive_rewards(2)
    share = toy.expectation(toy.probabilities(logits), toy.ACTS.double())[:-1]
    true = toy.true_gradient(rewards, logits)
    expected = toy.expected_gradient(advantages_by(name), rewards, logits, m)
    assert true.flatten(1).norm(dim=1).min() > 1e-2
    torch.testing.assert_close(expected, true * factors(name, share, m)[:, None, None], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_variance_falls_from_reinforce_to_grpo_to_position_specific(seed):
    values, outcomes = centered_by_warmup(positive_rewards(seed), PRETRAINED), toy.all_outcomes(3)
    probability = toy.probabilities(PRETRAINED)[outcomes].prod(-1)
    variance = {
        name: toy.variance(
            probability, toy.gradient_estimates(advantages_by(name), values, PRETRAINED, outcomes)
        ).item()
        for name in ("reinforce", "grpo", "position_specific")
    }
    assert variance["position_specific"] < 0.9 * variance["grpo"]
    assert variance["grpo"] < 0.9 * variance["reinforce"]


@pytest.mark.parametrize("seed", range(3))
def test_with_sixteen_rollouts_variance_is_lower_at_equal_expectation(seed):
    """Shrinking a gradient lowers its variance too. With each position's factor undone, position-specific
    baselines still help here.

    They need company: with three rollouts they do not help at equal expectation, nor for all rewards where
    four fifths stop at each chance.
    """
    values, m = centered_by_warmup(positive_rewards(seed), PRETRAINED), 16
    share = toy.expectation(toy.probabilities(PRETRAINED), toy.ACTS.double())[:-1]
    outcomes = toy.sampled_outcomes(PRETRAINED, m, n=4000, seed=0)
    variance = {}
    for name in ("reinforce", "grpo", "position_specific"):
        estimates = (
            toy.gradient_estimates(advantages_by(name), values, PRETRAINED, outcomes)
            / factors(name, share, m)[:, None, None]
        )
        variance[name] = toy.variance(
            torch.full((len(outcomes),), 1 / len(outcomes)).double(), estimates
        ).item()
    assert variance["position_specific"] < 0.95 * variance["reinforce"]
    assert variance["position_specific"] < 0.95 * variance["grpo"]


@pytest.mark.parametrize("m", [1, 2])
def test_a_baseline_that_knows_what_the_prefix_has_earned_leaves_the_expected_gradient_as_it_is(
    monkeypatch, m
):
    """Whatever slope other prompts give."""
    slope = torch.tensor([0.9, -0.7, 0.5, -0.3, 0.0]).double()
    monkeypatch.setattr(advantages, "slope_of_others", lambda y, x, otherwise: slope)
    logits, rewards = toy.random_table(1), positive_rewards(2)
    found = toy.expected_gradient(lambda *x: prefix_specific(*x, gamma=1.0), rewards, logits, m)
    torch.testing.assert_close(found, toy.true_gradient(rewards, logits), rtol=1e-9, atol=1e-12)
    plain = toy.gradient_estimates(against_others, rewards, logits, toy.all_outcomes(m))
    other = toy.gradient_estimates(
        lambda *x: prefix_specific(*x, gamma=1.0), rewards, logits, toy.all_outcomes(m)
    )
    assert (plain - other).abs().max() > 0.1


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize(("n_items", "share"), [(1, 1.0), (2, 1.0), (1, 0.3), (2, 0.3)])
def test_an_expectation_over_the_likeliest_items_leaves_the_expected_gradient_as_it_is(n_items, share, m):
    """Over one of the two items and the stop, or over all that can be done; whole or a share of it."""
    logits, table, outcomes = toy.random_table(1), toy.random_table(2), toy.all_outcomes(m)
    estimates = toy.expecting_estimates(against_others, table, logits, outcomes, n_items, share)
    probability = toy.probabilities(logits)[outcomes].prod(-1)
    true = toy.true_gradient(toy.path_rewards(table), logits)
    assert true.flatten(1).norm(dim=1).min() > 1e-2
    torch.testing.assert_close(toy.expectation(probability, estimates), true, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_with_sixteen_rollouts_an_expectation_has_a_lower_variance(seed):
    """Over all that can be done, by a tenth at least than position-specific baselines have, though these
    shrink the gradient; over half of it, still lower at equal expectation.
    """
    table, m = toy.random_table(10 + seed), 16
    share = toy.expectation(toy.probabilities(PRETRAINED), toy.ACTS.double())[:-1]
    outcomes = toy.sampled_outcomes(PRETRAINED, m, n=2000, seed=0)

    def variance(estimates):
        return toy.variance(torch.full((len(outcomes),), 1 / len(outcomes)).double(), estimates).item()

    half, whole = (
        variance(toy.expecting_estimates(against_others, table, PRETRAINED, outcomes, n)) for n in (1, 2)
    )
    specific = toy.gradient_estimates(
        advantages_by("position_specific"), toy.path_rewards(table), PRETRAINED, outcomes
    )
    assert whole < 0.9 * variance(specific)
    assert half < 0.98 * variance(specific / factors("position_specific", share, m)[:, None, None])


def ascent(name, m, rewards, steps, learning_rate):
    """The policy's logits at every step of ascent on the expected gradient, from the indifferent policy."""
    logits = [INDIFFERENT]
    for _ in range(steps):
        logits.append(
            logits[-1] - learning_rate * toy.expected_gradient(advantages_by(name), rewards, logits[-1], m)
        )
    return logits


def share_stopped(logits):
    """Probability that a path stops before it is of the longest length."""
    return toy.expectation(toy.probabilities(logits), (toy.LENGTH < toy.MAX_LENGTH).double()).item()


def mean_length(logits):
    return toy.expectation(toy.probabilities(logits), toy.LENGTH.double()).item()


def rewards_of(first_items, later):
    """One reward for each of the items at the start, and one for every item behind it."""
    table = torch.full((toy.MAX_LENGTH, toy.N_ITEMS + 1, toy.N_ITEMS + 1), later, dtype=torch.float64)
    table[0, :, 1:] = torch.tensor(first_items)
    return toy.path_rewards(table)


# What is to be learnt is which item to start with; each further item is worth 1, the mean.
FIRST_ITEM_MATTERS = rewards_of(first_items=[1.5, 0.5], later=1.0)


@pytest.mark.parametrize(("name", "m"), [("reinforce", 1), ("position_specific", 2)])
def test_without_centering_positive_rewards_drive_the_stop_probability_down_like_one_over_steps(name, m):
    """Going on is worth some g > 0 more than stopping; the softmax's gradient makes of that dp/ds = -c g p^2,
    hence p = 1 / (c g s).
    """
    policies = ascent(name, m, FIRST_ITEM_MATTERS, steps=160, learning_rate=4.0)
    stopped = {step: share_stopped(policies[step]) for step in (0, 80, 160)}
    assert stopped[0] == pytest.approx(0.875)
    assert math.log(stopped[160] / stopped[80]) / math.log(2) == pytest.approx(-1.0, abs=0.1)
    assert mean_length(policies[0]) == pytest.approx(1.875)
    assert mean_length(policies[-1]) > toy.MAX_LENGTH - 0.02


@pytest.mark.parametrize(("name", "m"), [("reinforce", 1), ("position_specific", 2)])
def test_with_centering_the_policy_learns_and_stops_as_before(name, m):
    values = centered_by_warmup(FIRST_ITEM_MATTERS, INDIFFERENT)
    policies = ascent(name, m, values, steps=40, learning_rate=4.0)
    assert toy.choice_log_probs(policies[-1])[0, 0, 1].exp() > 0.95
    assert share_stopped(policies[-1]) == pytest.approx(share_stopped(policies[0]), abs=1e-9)


@pytest.mark.parametrize(("later", "centred_length"), [(0.5, 1.0), (1.5, toy.MAX_LENGTH)])
def test_with_centering_length_follows_what_further_items_are_worth(later, centred_length):
    """Against the warm-up's mean step.

    Uncentred, paths grow to the longest length even where further items are worth less.
    """
    rewards = rewards_of(first_items=[1.0, 1.0], later=later)
    values = centered_by_warmup(rewards, INDIFFERENT)
    uncentred, centred = (
        ascent("reinforce", 1, r, steps=60, learning_rate=4.0)[-1] for r in (rewards, values)
    )
    assert mean_length(uncentred) == pytest.approx(toy.MAX_LENGTH, abs=0.1)
    assert mean_length(centred) == pytest.approx(centred_length, abs=0.1)
