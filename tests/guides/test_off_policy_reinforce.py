"""REINFORCE on logs: two small problems with exact limits, the log's propensities, and a fit in miniature."""

import json

import pytest
import torch

from prorl.guides.off_policy_reinforce import Log, behaviour, logged_steps, surrogate
from prorl.guides.stepping import steps
from tests.guides.worlds import N_ITEMS, T, context_of, fitted, settings_of, world_of
from tests.tiny_models import some_prompts

SMALL = {
    "n_candidates": 8,
    "hidden_size": 8,
    "steps": 12,
    "batch_size": 16,
    "paths": 64,
    "learning_rate": 3e-2,
}


def limit(reward, logged, weighed, slate=1, steps=2000, rate=0.1):
    """Ten actions under a softmax, after steps along the expected gradient of the surrogate."""
    scores = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        rise = (logged * surrogate(scores.log_softmax(0), weighed, reward, slate=slate)).sum()
        (gradient,) = torch.autograd.grad(rise, scores)
        with torch.no_grad():
            scores += rate * gradient
    return scores.detach().softmax(0)


def test_without_weights_what_was_logged_often_is_learnt():
    reward = torch.arange(1, 11, dtype=torch.float64)
    logged = (11 - reward) / 55
    expected = [0.0455, 0.0818, 0.1091, 0.1273, 0.1364, 0.1364, 0.1273, 0.1091, 0.0818, 0.0455]
    assert limit(reward, logged, None).tolist() == pytest.approx(expected, abs=5e-5)


def test_with_weights_the_best_action_is_learnt():
    reward = torch.arange(1, 11, dtype=torch.float64)
    logged = (11 - reward) / 55
    assert float(limit(reward, logged, logged)[-1]) == pytest.approx(0.9985, abs=5e-5)


def test_the_top_k_correction_learns_the_two_best_of_a_slate_of_two():
    reward = torch.tensor([10.0, 9.0, *[1.0] * 8], dtype=torch.float64)
    logged = torch.full((10,), 0.1, dtype=torch.float64)
    assert float(limit(reward, logged, logged)[0]) == pytest.approx(0.9990, abs=5e-5)
    both = limit(reward, logged, logged, slate=2, steps=3000, rate=0.2)
    assert both.tolist() == pytest.approx([10 / 19, 9 / 19, *[0.0] * 8], abs=5e-4)


def test_weights_are_capped_and_constants_for_the_gradient():
    log_pi = torch.tensor([0.5, 0.5]).log().requires_grad_()
    rise = surrogate(log_pi, torch.tensor([0.25, 0.01]), torch.tensor([3.0, 3.0]), cap=20.0)
    (gradient,) = torch.autograd.grad(rise.sum(), log_pi)
    assert gradient.tolist() == pytest.approx([2 * 3, 20 * 3])


def test_the_log_is_drawn_with_the_propensities_it_states(tmp_path):
    world = world_of(context_of(tmp_path), n_candidates=6)
    prompts = some_prompts(1, N_ITEMS)[torch.zeros(3000, dtype=torch.int64)]  # the same one again and again
    log = Log.of(world, prompts, 2.0, torch.Generator().manual_seed(0), 60)
    first, propensity = log.path[:, 0], log.propensity[:, 0]
    for item in first.unique():
        own = first == item
        assert len(propensity[own].unique()) == 1
        stated = float(propensity[own][0])
        assert float(own.double().mean()) == pytest.approx(stated, abs=4 * (stated / 3000) ** 0.5)
    accepted = float(log.accepted.mean())
    acceptance = world.simulator.score(prompts.history, log.path[:, None], prompts.target).acceptance
    assert accepted == pytest.approx(float(acceptance.mean()), abs=0.02)
    found = world.start(prompts[:1]).candidates
    shares = behaviour(found.feature("logit"), found.allowed, 2.0)
    assert float(shares.sum()) == pytest.approx(1)
    assert (shares[~found.allowed] == 0).all()


def test_rewards_to_go_are_discounted_centred_by_position_and_scaled(tmp_path):
    world, prompts = world_of(context_of(tmp_path)), some_prompts(40, N_ITEMS)
    log = Log.of(world, prompts, 1.0, torch.Generator().manual_seed(0), 60)
    settings = settings_of("off_policy_reinforce", gamma=0.5, weights={"ctr": 2.0, "coherence": 0.25})
    step = log.gain + 2 * log.accepted + 0.25 * log.coherent
    last, before = step[:, T - 1], step[:, T - 2] + 0.5 * step[:, T - 1]
    found = log.to_go(settings)
    assert found.mean(0).tolist() == pytest.approx([0] * T, abs=1e-5)
    assert float(found.square().mean()) == pytest.approx(1, abs=1e-5)
    scale = (last - last.mean())[0] / found[0, T - 1]
    torch.testing.assert_close((before - before.mean()) / scale, found[:, T - 2], atol=1e-4, rtol=1e-4)


def test_logged_steps_are_those_of_the_paths(tmp_path):
    world, prompts = world_of(context_of(tmp_path)), some_prompts(5, N_ITEMS)
    log = Log.of(world, prompts, 1.0, torch.Generator().manual_seed(0), 60)
    features, allowed, place, at = logged_steps(world, prompts, log.path)
    assert sorted(at.tolist()) == list(range(5 * T))
    shown = features[torch.arange(len(place)), place]
    assert allowed.gather(1, place[:, None]).all()
    walks = [
        (before.row * T + before.length, before.candidates, after.item)
        for before, after in steps(world.start(prompts), lambda w: w.after(log.path[w.row, w.length]))
    ]
    for rows, found, items in walks:
        for row, item, own, of_row in zip(rows, items, found.features, found.items, strict=True):
            assert torch.equal(shown[at == row][0], own[of_row == item][0])


def test_a_fit_learns_from_the_log_and_the_guide_also_shows_slates(tmp_path):
    guide, figures = fitted("off_policy_reinforce", context_of(tmp_path), tmp_path, **SMALL)
    assert figures["logged_items"] == 64 * T
    assert 0 < figures["effective"] <= 1
    json.dumps(figures)
    prompts = some_prompts(6, N_ITEMS)
    slates = guide.slates(prompts, 12)
    assert torch.equal(slates[:, 0], guide.paths(prompts)[:, 0]), "the likeliest item comes first"
    for row, history, target in zip(
        slates.tolist(), prompts.history.tolist(), prompts.target.tolist(), strict=True
    ):
        items = [item for item in row if item]
        assert row == [*items, *[0] * (12 - len(items))]
        assert len(items) == len(set(items)) > 1
        assert not set(items) & {*history, target}


def test_learnt_propensities_come_near_the_exact_ones(tmp_path):
    few, many = (
        fitted(
            "off_policy_reinforce",
            context_of(folder),
            folder,
            **SMALL | {"steps": n, "propensities": "learned"},
        )
        for n, folder in ((1, tmp_path / "a"), (60, tmp_path / "b"))
        if folder.mkdir() is None
    )
    assert many[1]["beta_error"] < 0.5 * few[1]["beta_error"]
