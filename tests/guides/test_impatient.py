"""The choice between guides from partly finished paths: hand-worked beliefs, and a campaign in miniature."""

import json
import re

import numpy as np
import pytest
import torch

from prorl.config.guide import Guide
from prorl.config.section import ConfigError, build
from prorl.errors import DataError
from prorl.guides.beliefs import Prior, explained
from prorl.guides.impatient import ImpatientGuide, prompts_towards
from prorl.guides.registry import mistakes
from tests.guides.outside import OneItem, OneItemSettings
from tests.guides.worlds import N_ITEMS, T, context_of, fitted
from tests.tiny_models import PARAMS, guide_data_of, sequences_of, some_prompts

SEARCH = {"simulator": "SASRec", "n_candidates": 6, "weights": {"ctr": 1.0, "coherence": 0.0}}
ONE_ITEM = {"kind": "tests.guides.outside:ONE_ITEM", "item": 3, "n": 2}
SMALL = {
    "guides": {"search": SEARCH, "one": ONE_ITEM},
    "ctr": 0.0,
    "past_targets": 8,
    "past_users": 3,
    "new_targets": 10,
    "days": 7,
}
PRIOR = Prior(
    np.array([1, 0.5, 0.25]),
    np.array([[0.4, 0.2, 0.1], [0.2, 0.3, 0.15], [0.1, 0.15, 0.2]]),
    0.5 * np.eye(3),
)


def test_a_belief_after_two_days_by_hand():
    belief = PRIOR.after(np.array([1.6, 0.9]), np.array([4, 4]))
    assert belief.mean == pytest.approx([1.480546, 0.838567, 0.419283], abs=1e-6)
    expected = [
        [0.088737, 0.017065, 0.008532],
        [0.017065, 0.080205, 0.040102],
        [0.008532, 0.040102, 0.145051],
    ]
    assert belief.covariance == pytest.approx(np.array(expected), abs=1e-6)
    assert belief.of(np.ones(3)) == pytest.approx((2.738396, 0.445392), abs=1e-6)
    assert belief.of(np.array([0.0, 0.0, 1.0])) == pytest.approx((0.419283, 0.145051), abs=1e-6)


def test_users_seen_on_both_days_make_the_noise_of_a_pair_of_days():
    prior = Prior(np.zeros(2), np.eye(2), np.array([[1.0, 0.5], [0.5, 1.0]]))
    belief = prior.after(np.array([1.0, 1.0]), np.array([4, 1]))
    noise = np.array([[1 / 4, 0.5 / 4], [0.5 / 4, 1.0]])
    assert belief.mean == pytest.approx(np.linalg.solve(np.eye(2) + noise, np.ones(2)))


def test_without_users_the_prior_is_believed():
    belief = PRIOR.after(np.zeros(0), np.zeros(0))
    assert belief.mean is PRIOR.mean
    assert belief.covariance is PRIOR.between


def test_a_prior_tells_variance_between_arms_from_that_within():
    rng = np.random.default_rng(0)
    between, within = np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 3.0]])
    arms = rng.multivariate_normal([1.0, -1.0], between, size=4000)
    traces = arms[:, None] + rng.multivariate_normal([0.0, 0.0], within, size=(4000, 3))
    prior = Prior.of(traces)
    assert prior.mean == pytest.approx([1, -1], abs=0.1)
    assert prior.between == pytest.approx(between, abs=0.15)
    assert prior.within == pytest.approx(within, abs=0.1)
    alike = Prior.of(rng.normal(size=(50, 2, 3)))
    assert np.linalg.eigvalsh(alike.between).min() >= -1e-12


def test_more_days_explain_more_and_with_many_users_the_outcome_explains_itself():
    shares = explained(PRIOR, np.array([0.0, 0.0, 1.0]), 10**6)
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.1**2 / 0.4 / 0.2, abs=1e-4)
    assert shares[-1] == pytest.approx(1, abs=1e-4)


def test_prompts_are_of_training_users_who_do_not_know_the_target():
    data = guide_data_of(N_ITEMS)
    targets = np.arange(1, N_ITEMS + 1).repeat(5)
    prompts = prompts_towards(data, targets, 0, torch.device("cpu"))
    assert prompts.target.tolist() == targets.tolist()
    for user, target in zip(prompts.user.tolist(), targets.tolist(), strict=True):
        assert user in data.train_users
        assert target not in data.sequences.of(user)


def test_a_target_that_everybody_knows_is_refused():
    data = guide_data_of(N_ITEMS)
    everything = sequences_of(*[list(range(1, N_ITEMS + 1))] * len(data.sequences))
    data = type(data)(data.train, data.validation, everything, data.train_users, data.titles)
    with pytest.raises(DataError, match="item 4: no training user was found who does not know it"):
        prompts_towards(data, np.array([4]), 0, torch.device("cpu"))


def test_each_target_has_the_guide_that_was_chosen_for_it(tmp_path):
    context = context_of(tmp_path)
    guides = [OneItem(OneItemSettings(item=item, n=2), context) for item in (1, 2)]
    choice = torch.arange(N_ITEMS + 1) % 2
    prompts = some_prompts(20, N_ITEMS)
    guide = ImpatientGuide(guides, choice)
    paths = guide.paths(prompts)
    assert paths[:, 0].tolist() == [1 + target % 2 for target in prompts.target.tolist()]
    assert guide.states(prompts, paths).tolist() == [0] * 20, "these ask no simulator"


def test_a_campaign_finds_the_guide_that_works(tmp_path):
    context = context_of(tmp_path)
    guide, figures = fitted("impatient", context, tmp_path, **SMALL)
    json.dumps(figures)
    assert sum(figures["taken"].values()) == N_ITEMS
    assert figures["taken"]["search"] > figures["taken"]["one"], (
        "search gains more than one item again and again"
    )
    assert len(figures["explained"]["search"]) == T + 1
    assert len(figures["right_by_day"]) == len(figures["lost_by_day"]) == 7
    assert figures["right_by_day"][-1] >= 0.8
    prompts = some_prompts(9, N_ITEMS)
    paths = guide.paths(prompts)
    of_search = guide.choice[prompts.target] == 0
    assert (guide.states(prompts, paths) > 0).tolist() == of_search.tolist()
    assert torch.equal(paths[of_search], guide.guides[0].paths(prompts)[of_search])


def test_a_guide_to_choose_from_may_itself_be_fitted(tmp_path):
    bandit = dict(PARAMS.section(Guide).named["linucb"])
    bandit.pop("tried")
    bandit |= {"n_candidates": 6, "interactions": 32, "batch_size": 8}
    changes = SMALL | {"guides": {"linucb": bandit, "one": ONE_ITEM}, "new_targets": 2, "days": 1}
    guide, _ = fitted("impatient", context_of(tmp_path), tmp_path, **changes)
    assert (tmp_path / "guide/linucb/fitted.safetensors").exists()
    assert guide.paths(some_prompts(3, N_ITEMS)).shape == (3, T)


def test_too_many_past_targets_leave_no_new_one(tmp_path):
    message = r"guide\.mine\.past_targets: got 30, allowed: fewer than the 30 items"
    with pytest.raises(DataError, match=message):
        fitted("impatient", context_of(tmp_path), tmp_path, **SMALL | {"past_targets": 30})


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"kind": "serch"}, "guide.impatient.guides.one.kind: got 'serch', allowed: search, lookahead, beam"),
        (
            {**SEARCH, "kind": "search", "simulator": "X"},
            "guide.impatient.guides.one.simulator: got 'X', allowed: one of",
        ),
        ({**ONE_ITEM, "m": 1}, "guide.impatient.guides.one.m: unknown key"),
    ],
)
def test_settings_of_the_guides_to_choose_from_are_checked_with_the_others(inner, message):
    values = dict(PARAMS.section(Guide).named["impatient"]) | {"guides": {"search": SEARCH, "one": inner}}
    values.pop("tried")
    section = build(Guide, {"impatient": values}, "guide", "params.yaml")
    (found,) = mistakes(["impatient"], section, ["SASRec"], "params.yaml")
    assert re.search(re.escape(message), found)


def test_there_are_at_least_two_guides_to_choose_from():
    values = dict(PARAMS.section(Guide).named["impatient"]) | {"guides": {"search": SEARCH}}
    values.pop("tried")
    section = build(Guide, {"impatient": values}, "guide", "params.yaml")
    (found,) = mistakes(["impatient"], section, ["SASRec"], "params.yaml")
    assert found.startswith("params.yaml: guide.impatient.guides: ")


def test_there_is_at_least_one_day(tmp_path):
    with pytest.raises(
        ConfigError, match=r"guide\.impatient\.days: got 0 \(int\), allowed: a number at least 1"
    ):
        fitted("impatient", context_of(tmp_path), tmp_path, **SMALL | {"days": 0})
