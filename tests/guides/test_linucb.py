"""LinUCB against hand-worked numbers, and a fit in miniature."""

import json

import numpy as np
import pytest
import torch

from prorl.errors import DataError
from prorl.guide import CostedGuide
from prorl.guides import linucb
from prorl.guides.linucb import LinearBandit
from prorl.guides.registry import GUIDES
from tests.guides.worlds import N_ITEMS, context_of, fitted, settings_of
from tests.tiny_models import some_prompts

SMALL = {"n_candidates": 10, "interactions": 640, "batch_size": 16}


def test_three_interactions_by_hand():
    bandit = LinearBandit(2, ridge=1.0)
    for x, reward in (((1.0, 0.0), 1.0), ((1.0, 1.0), 0.0), ((0.0, 1.0), 1.0)):
        bandit.learn(np.array(x), reward)
    assert bandit.a.tolist() == [[3, 1], [1, 3]]
    assert bandit.b.tolist() == [1, 1]
    assert bandit.theta == pytest.approx([0.25, 0.25])
    x = np.array([1.0, 1.0])
    assert x @ bandit.theta == pytest.approx(0.5)
    assert bandit.width(x) == pytest.approx(0.7071068)


def test_the_inverse_follows_each_interaction_and_starts_with_the_ridge(monkeypatch):
    monkeypatch.setattr(linucb, "REFRESHED_EVERY", 7)
    rng, bandit = np.random.default_rng(0), LinearBandit(5, ridge=4.0)
    assert bandit.inverse == pytest.approx(np.eye(5) / 4)
    for _ in range(10):  # beyond a refreshment
        bandit.learn(rng.normal(size=5), rng.normal())
        assert bandit.inverse == pytest.approx(np.linalg.inv(bandit.a))


def test_it_learns_far_below_the_regret_of_random_choice(tmp_path):
    context = context_of(tmp_path)
    guide, figures = fitted("linucb", context, tmp_path, **SMALL)
    assert figures["interactions"] == 640
    assert figures["regret_last_tenth"] < 0.6 * figures["regret_random"]
    assert figures["exploration_last_tenth"] < figures["exploration_first_tenth"]
    assert {f"regret_{rule}" for rule in linucb.RULES} < set(figures)
    json.dumps(figures)
    prompts = some_prompts(7, N_ITEMS)
    paths = guide.paths(prompts)
    assert isinstance(guide, CostedGuide)
    assert guide.states(prompts, paths).tolist() == [prompts.history.shape[1] + 4] * 7
    assert guide.n_items == N_ITEMS
    again = GUIDES["linucb"].build(settings_of("linucb", **SMALL), context)
    assert torch.equal(again.paths(prompts[2:3]), paths[2:3]), "neither on the batch nor on the building"


def test_without_a_bonus_nothing_is_explored(tmp_path):
    _, figures = fitted(
        "linucb", context_of(tmp_path), tmp_path, **SMALL | {"alpha": 0.0, "interactions": 64}
    )
    assert figures["exploration_first_tenth"] == figures["exploration_last_tenth"] == 0


def test_it_is_built_from_a_fit_alone(tmp_path):
    with pytest.raises(
        DataError, match=r"guide/fitted\.safetensors: no such file; the guide stage writes it"
    ):
        GUIDES["linucb"].build(settings_of("linucb"), context_of(tmp_path))
