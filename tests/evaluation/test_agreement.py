"""Whether judges rank guides alike."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from prorl.evaluation.agreement import agreement, kendall, spearman
from prorl.metrics.intervals import UserBootstrap


def one_user(n):
    return UserBootstrap.of_users(np.ones(n, dtype=int), 100, seed=0)


def flat(**means):
    """Guides whose every prompt has the value of their mean."""
    return {guide: np.full(4, mean) for guide, mean in means.items()}


@pytest.mark.parametrize("n_values", [3, 100])  # few values tie often
def test_coefficients_are_scipys_row_by_row(n_values):
    one, other = np.random.default_rng(1).integers(0, n_values, (2, 30, 6)).astype(float)
    rows = [(a, b) for a, b in zip(one, other, strict=True) if len({*a}) > 1 and len({*b}) > 1]
    assert len(rows) > 20
    expected = np.array([(kendalltau(a, b)[0], spearmanr(a, b)[0]) for a, b in rows], dtype=float)
    a, b = (np.stack(part) for part in zip(*rows, strict=True))
    np.testing.assert_allclose(np.stack([kendall(a, b), spearman(a, b)], axis=1), expected)


def test_a_ranking_that_ties_throughout_agrees_with_none():
    assert kendall(np.ones(4), np.arange(4.0)) == 0.0
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0


def test_judges_who_rank_alike_and_who_rank_the_other_way_round():
    judged = {
        "A": flat(x=1.0, y=2.0, z=3.0),
        "B": flat(x=10.0, y=11.0, z=19.0),
        "C": flat(x=3.0, y=2.0, z=1.0),
        "D": flat(x=1.0, y=3.0, z=2.0),
    }
    found = agreement(judged, {}, one_user(4))
    assert list(found) == ["A ~ B", "A ~ C", "A ~ D", "B ~ C", "B ~ D", "C ~ D"]
    assert found["A ~ B"]["kendall"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["A ~ C"]["kendall"]["mean"] == -1.0
    assert found["A ~ D"]["kendall"]["mean"] == pytest.approx(1 / 3)  # two pairs of three in order
    assert found["A ~ D"]["spearman"]["mean"] == pytest.approx(0.5)


def test_guides_that_steer_by_one_of_the_two_judges_are_left_out():
    judged = {name: flat(w=4.0, x=1.0, y=2.0, z=3.0) for name in ("A", "B", "C")}
    found = agreement(judged, {"w": ["A"], "x": ["B"], "y": []}, one_user(4))
    assert {pair: own["guides"] for pair, own in found.items()} == {
        "A ~ B": ["y", "z"],
        "A ~ C": ["x", "y", "z"],
        "B ~ C": ["w", "y", "z"],
    }
    assert found["A ~ B"]["kendall"] is None, "two guides are no ranking"
    assert found["A ~ B"]["spearman"] is None
    assert found["B ~ C"]["kendall"]["mean"] == 1.0


def test_the_interval_is_that_of_rankings_by_means_over_resampled_users():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(8), 2)
    judged = {
        name: {guide: rng.normal(size=16) + 0.3 * i for i, guide in enumerate("uvwxyz")} for name in "AB"
    }
    bootstrap = UserBootstrap.of_users(user, 200, seed=0)
    taus = []
    for weights in bootstrap.weights:
        rows = np.repeat(np.arange(16), weights[bootstrap.group].astype(int))
        means = [[values[rows].mean() for values in own.values()] for own in judged.values()]
        taus.append(kendalltau(*means)[0])
    found = agreement(judged, {}, bootstrap)["A ~ B"]["kendall"]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(taus, [0.025, 0.975]))
    assert found["low"] < found["mean"] < found["high"]
