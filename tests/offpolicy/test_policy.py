"""A policy's probabilities of logged items: as its sampler draws them, token by token under the rules."""

import copy

import numpy as np
import pytest
import torch

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.log import Request
from prorl.offpolicy.policy import AskedTarget, PolicyTarget, action_log_probs, sampled_propensities
from prorl.offpolicy.reading import read_log
from prorl.offpolicy.users import keyed_hash
from prorl.offpolicy.writing import LogWriter
from prorl.policy.decoding import keyed_uniforms, rollouts
from prorl.policy.guide import PolicyGuide
from tests.offpolicy.logs import KEY
from tests.policy import naive
from tests.tiny_models import random_catalogue, random_policy, random_prompts

N_ITEMS = 30
RULES = ["repeats", "history", "target"]


def a_guide(forbid=RULES, seed=0, **options):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid, **options)
    return PolicyGuide(random_policy(catalogue, seed=seed).double(), catalogue)


def drawn(guide, n_prompts=6, m=4, temperature=1.0):
    history, target = random_prompts(n_prompts, N_ITEMS)
    uniforms = keyed_uniforms(0, torch.arange(n_prompts), m, guide.catalogue.n_tokens)
    return history, target, rollouts(guide.policy, guide.catalogue, history, target, uniforms, temperature)


def write_log(folder, guide, n_prompts=6, m=4, temperature=1.0, prefix=""):
    """Sampled paths as a log; every second prompt has a history of three items only."""
    history, target, _ = drawn(guide, n_prompts)
    history[::2, :2] = 0
    uniforms = keyed_uniforms(0, torch.arange(n_prompts), m, guide.catalogue.n_tokens)
    paths = rollouts(guide.policy, guide.catalogue, history, target, uniforms, temperature)
    propensities = sampled_propensities(paths)
    with LogWriter(folder) as writer:
        for prompt in range(n_prompts):
            for rollout in range(m):
                items = [item for item in paths.items[prompt, rollout].tolist() if item]
                request = Request(
                    request_id=f"{prefix}{prompt}-{rollout}",
                    user=keyed_hash(str(prompt), KEY),
                    history=[item for item in history[prompt].tolist() if item],
                    target=int(target[prompt]),
                    rules=guide.catalogue.decoding,
                    temperature=temperature,
                    model="tiny",
                    items=items,
                    propensities=propensities[prompt, rollout, : len(items)].tolist(),
                    outcomes=["accepted" if item % 2 else "refused" for item in items],
                )
                writer.add(request)
    return read_log(folder)


@pytest.mark.parametrize("forbid", [RULES, []], ids=["all", "nothing"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_probabilities_of_logged_items_are_the_propensities_they_were_drawn_with(
    tmp_path, forbid, temperature, monkeypatch
):
    guide = a_guide(forbid)
    log = write_log(tmp_path, guide, temperature=temperature)
    assert {1, 2, 3} <= set(log.length.tolist())
    assert (log.history[:, 0] == 0).any()
    found = PolicyTarget(guide, temperature)(log)
    assert found == pytest.approx(log.propensity, rel=1e-9)
    monkeypatch.setattr("prorl.offpolicy.policy.BATCH", 5)
    assert PolicyTarget(guide, temperature)(log) == pytest.approx(found, rel=1e-12)
    assert PolicyTarget(guide, 2 * temperature)(log) != pytest.approx(found, rel=0.01)


@torch.no_grad()
def test_log_probabilities_are_those_of_plain_loops_over_tokens_the_stop_included():
    guide = a_guide(target_tokens="separate")
    history, target, paths = drawn(guide, m=1)
    found = action_log_probs(guide, history, target, paths.items[:, 0], 0.7)
    assert found.shape == (6, 5)
    for prompt, path in enumerate(paths.items[:, 0].tolist()):
        items = [item for item in path if item]
        expected = naive.action_log_probs(
            guide.policy, guide.catalogue, history[prompt], target[prompt], items, 0.7
        )
        assert found[prompt].tolist() == pytest.approx(expected + [0.0] * (5 - len(expected)), abs=1e-9)


@pytest.mark.parametrize(
    ("rule", "path"), [("repeats", [7, 8, 7, 9]), ("history", [7, 8, 3, 9]), ("target", [7, 8, 20, 9])]
)
def test_an_item_that_the_rules_forbid_and_all_behind_it_have_no_probability(rule, path):
    history, target = torch.tensor([[1, 2, 3]]), torch.tensor([20])
    items = torch.tensor([path])
    found = action_log_probs(a_guide([rule]), history, target, items, 1.0)[0]
    assert found[:2].isfinite().all()
    assert found[2:].isneginf().all()
    others = [other for other in RULES if other != rule]
    assert action_log_probs(a_guide(others), history, target, items, 1.0).isfinite().all()
    first = action_log_probs(a_guide([rule]), history, target, items[:, [2]], 1.0)[0]
    assert first[0].isfinite() == (rule == "repeats")


def test_probabilities_of_all_items_and_the_stop_sum_to_one():
    guide = a_guide()
    history, target = torch.tensor([[1, 2, 3]]), torch.tensor([20])
    last = torch.arange(1, N_ITEMS + 1)[:, None]
    paths = torch.cat([torch.full_like(last, 7), last], dim=1)
    every = action_log_probs(guide, history.expand(N_ITEMS, -1), target.expand(N_ITEMS), paths, 0.8).exp()
    stop = action_log_probs(guide, history, target, torch.tensor([[7]]), 0.8).exp()[0, 1]
    assert 0 < stop < 1
    assert float(every[:, 1].sum() + stop) == pytest.approx(1)
    assert (every[:, 1] == 0).nonzero()[:, 0].tolist() == [0, 1, 2, 6, 19]


def test_items_behind_the_longest_path_of_the_target_policy_have_no_probability(tmp_path):
    log = write_log(tmp_path, a_guide())
    shorter = a_guide(max_length=2)
    found = PolicyTarget(shorter)(log)
    assert (found[log.position >= 2] == 0).all()
    assert (found[log.position < 2] > 0).all()


def test_what_the_policy_cannot_be_asked_is_refused(tmp_path):
    log = write_log(tmp_path, a_guide())
    with pytest.raises(ConfigError, match="temperature: got 0, allowed: above 0"):
        PolicyTarget(a_guide(), 0)(log)
    with pytest.raises(ConfigError, match="constrained: got false, allowed: true"):
        PolicyTarget(a_guide([], constrained=False, min_length=0))(log)
    small = random_catalogue(12, forbid=RULES)
    with pytest.raises(
        DataError, match="log: history: got item 30, allowed: 1 to 12, the items of the target"
    ):
        PolicyTarget(PolicyGuide(random_policy(small), small))(log)


def test_the_value_of_another_policy_is_estimated_from_a_policys_log(tmp_path):
    """The target policy is the logging one with other weights: its value is known from its own rollouts."""
    guide = a_guide()
    log = write_log(tmp_path, guide, n_prompts=40, m=20)
    other = PolicyGuide(copy.deepcopy(guide.policy), guide.catalogue)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.policy.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    history, target, _ = drawn(other, 40)
    history[::2, :2] = 0
    uniforms = keyed_uniforms(1, torch.arange(40), 150, other.catalogue.n_tokens)
    items = rollouts(other.policy, other.catalogue, history, target, uniforms).items
    truth = float(((items % 2 == 1) & (items > 0)).sum(-1).double().mean())
    found = estimate(log, PolicyTarget(other), "per_decision_ips")
    assert found.warnings == ()
    assert found.low < truth < found.high
    assert abs(found.logged - truth) > 0  # the policies differ
    assert found.n_effective > 100
    same = estimate(log, PolicyTarget(guide), "per_decision_ips")
    assert same.value == pytest.approx(same.logged)
    assert same.n_effective == pytest.approx(800)
    assert same.largest_weight == pytest.approx(1)


def test_a_target_policy_of_fewer_rules_is_refused(tmp_path):
    log = write_log(tmp_path, a_guide())
    with pytest.raises(DataError, match=r"target policy: forbid: got \[\], allowed: lists with 'repeats'"):
        estimate(log, PolicyTarget(a_guide([])), "per_decision_ips")


def test_sampled_propensities_are_never_above_one_and_zero_behind_the_path():
    guide = a_guide()
    *_, paths = drawn(guide)
    paths.log_prob[0, 0, 0] = 1e-7  # as rounding may leave it
    found = sampled_propensities(paths)
    assert found[0, 0, 0] == 1
    assert ((found > 0) == (paths.items != 0).numpy()).all()
    assert found.dtype == np.float64


def test_a_policy_asked_the_same_keeps_the_rules_of_each_request(tmp_path):
    """Requests of two lengths, the second without three items: their propensities are found again."""
    guide = a_guide()
    longer = a_guide(min_length=2, max_length=6).blocking([4, 5, 6])
    write_log(tmp_path / "log", guide, temperature=0.8)
    others = write_log(tmp_path / "log", longer, temperature=0.8, prefix="b")
    assert [rules.blocked for rules in others.rules] == [(), (4, 5, 6)]
    assert not np.isin(others.item[others.rule[others.request] == 1], [4, 5, 6]).any()
    assert AskedTarget(guide, 0.8)(others) == pytest.approx(others.propensity, rel=1e-9)
    assert PolicyTarget(guide, 0.8)(others) != pytest.approx(others.propensity, rel=0.01)
    assert estimate(others, AskedTarget(guide, 0.8), "per_decision_ips").n_effective == pytest.approx(48)


def test_a_blocked_item_has_no_probability_and_must_be_blocked_by_the_target_policy_too(tmp_path):
    guide = a_guide().blocking([7, 8])
    history, target = torch.tensor([[1, 2, 3]]), torch.tensor([20])
    found = action_log_probs(guide, history, target, torch.tensor([[9, 8, 10]]), 1.0)[0]
    assert found[0].isfinite()
    assert found[1:].isneginf().all()
    log = write_log(tmp_path, guide)
    with pytest.raises(DataError, match="got none of 2 items that the log's rules block, such as 7"):
        estimate(log, PolicyTarget(a_guide()), "per_decision_ips")
    assert estimate(log, PolicyTarget(guide), "per_decision_ips").n_effective == pytest.approx(24)
