"""Calibration of acceptance: error, bins and temperature on cases worked out by hand."""

import math

import numpy as np
import pytest

from prorl.evaluation.calibration import SMALLEST, Mixture
from prorl.metrics.intervals import UserBootstrap


def of_one(n):
    """A bootstrap of n places of a single user, which every resample draws."""
    return UserBootstrap.of_users(np.ones(n, dtype=int), 100, seed=0)


# A judge that is perfectly calibrated by construction, at one sampled item for each real one: of four real
# and four sampled items, those accepted at .75 are real three times in four, those at .25 once in four.
PERFECT = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.25, 0.75]])


def test_a_perfectly_calibrated_judge_has_no_error_and_needs_no_temperature():
    mixture = Mixture.of(PERFECT, ratio=1.0)
    found = mixture.calibration(1.0, 10, of_one(4))
    assert found["ece"]["mean"] == pytest.approx(0.0, abs=1e-12)
    assert [(b["from"], b["to"]) for b in found["bins"]] == [(0.2, 0.3), (0.7, 0.8)]
    assert [b["acceptance"] for b in found["bins"]] == pytest.approx([0.25, 0.75])
    assert [b["real"] for b in found["bins"]] == pytest.approx([0.25, 0.75])
    assert [b["share"] for b in found["bins"]] == pytest.approx([0.5, 0.5])
    assert mixture.fitted_temperature() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_the_temperature_of_a_judge_whose_logits_are_too_large_is_what_they_are_too_large_by(factor):
    logit = factor * np.log(PERFECT / (1 - PERFECT))
    mixture = Mixture.of(1 / (1 + np.exp(-logit)), ratio=1.0)
    assert mixture.fitted_temperature() == pytest.approx(factor, rel=1e-6)
    assert mixture.calibration(1.0, 10, of_one(4))["ece"]["mean"] > 0.1
    assert mixture.calibration(factor, 10, of_one(4))["ece"]["mean"] == pytest.approx(0.0, abs=1e-9)


def test_error_bins_and_log_loss_by_hand():
    # Accepted at .9: one real, one sampled; at .3: one real; at .1: one sampled.
    found = Mixture.of(np.array([[0.9, 0.9], [0.3, 0.1]]), ratio=1.0).calibration(1.0, 2, of_one(2))
    low, high = found["bins"]
    assert (low["share"], low["real"], low["acceptance"]) == pytest.approx((0.5, 0.5, 0.2))
    assert (high["share"], high["real"], high["acceptance"]) == pytest.approx((0.5, 0.5, 0.9))
    assert found["ece"]["mean"] == pytest.approx(0.5 * 0.3 + 0.5 * 0.4)
    loss = -(math.log(0.9) + math.log(0.1) + math.log(0.3) + math.log(0.9)) / 4
    assert found["log_loss"]["mean"] == pytest.approx(loss)


def test_sampled_items_weigh_as_many_as_the_ratio_says_however_many_there_are():
    few, many = np.array([[0.8, 0.4]]), np.array([[0.8, 0.4, 0.4, 0.4, 0.4]])
    for ratio, ece in ((1.0, (0.2 + 0.4) / 2), (3.0, (0.2 + 3 * 0.4) / 4)):
        found = [Mixture.of(own, ratio).calibration(1.0, 10, of_one(1)) for own in (few, many)]
        assert [own["ece"]["mean"] for own in found] == pytest.approx([ece, ece])
        assert found[0]["log_loss"]["mean"] == pytest.approx(found[1]["log_loss"]["mean"])


def test_intervals_equal_those_of_resampling_users_one_by_one():
    rng = np.random.default_rng(2)
    acceptance, user = rng.uniform(0.05, 0.95, (9, 4)), np.repeat([1, 2, 3], 3)
    bootstrap = UserBootstrap.of_users(user, 100, seed=0)
    errors = []
    for weights in bootstrap.weights:
        rows = np.repeat(np.arange(9), weights[bootstrap.group].astype(int))
        plain = Mixture.of(acceptance[rows], 1.0).calibration(1.0, 5, of_one(len(rows)))
        errors.append(plain["ece"]["mean"])
    found = Mixture.of(acceptance, 1.0).calibration(1.0, 5, bootstrap)["ece"]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(errors, [0.025, 0.975]))


def test_certain_acceptance_is_taken_for_the_nearest_that_is_not():
    found = Mixture.of(np.array([[1.0, 0.0]]), 1.0)
    assert np.isfinite(found.log_loss()).all()
    assert found.logit[0, 0] == pytest.approx(-found.logit[0, 1])
    assert found.logit[0, 0] == pytest.approx(math.log((1 - SMALLEST) / SMALLEST))
    assert found.calibration(1.0, 10, of_one(1))["bins"][-1]["to"] == 1.0
