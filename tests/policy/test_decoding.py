"""Rollouts and greedy paths: the rules, the probabilities, and what they must not depend on."""

import math
from itertools import combinations

import pytest
import torch
from scipy.stats import chisquare

from prorl.policy.actions import Actions, masked_log_softmax
from prorl.policy.decoding import choose, greedy, inverse_transform, keyed_uniforms, rollouts
from tests.policy import naive
from tests.tiny_models import IDENTIFIERS, random_catalogue, random_policy, random_prompts

N_ITEMS = 30
RULES = ["repeats", "history", "target"]
SUBSETS = [list(subset) for n in range(4) for subset in combinations(RULES, n)]


def drawn(catalogue, policy, n_prompts=6, m=8, seed=0, **options):
    history, target = random_prompts(n_prompts, catalogue.trie.n_items)
    uniforms = keyed_uniforms(seed, torch.arange(n_prompts), m, catalogue.n_tokens)
    return history, target, rollouts(policy, catalogue, history, target, uniforms, **options)


def loss_log_probs(policy, catalogue, history, target, paths, temperature=1.0):
    """Log-probabilities [b, m, t+1] of actions as the loss takes them, in one pass."""
    actions = Actions.of_paths(catalogue, history, target, paths)
    states = policy(catalogue.prompt_tokens(history, target), actions.decoder_tokens).flatten(0, 2)
    log_prob = torch.zeros(paths.log_prob.numel(), dtype=states.dtype)
    for taken in actions.levels:
        logits = policy.logits(states[taken.source], taken.ids) / temperature
        log_probs = masked_log_softmax(logits, taken.allowed)
        log_prob = log_prob.index_add(0, taken.action, log_probs.gather(1, taken.chosen[:, None])[:, 0])
    return log_prob.view_as(paths.log_prob)


@pytest.mark.parametrize("all_at_once", [0.0, 0.3, 1.0])
def test_paths_are_the_same_however_choices_are_read(monkeypatch, all_at_once):
    """Whether the decoder goes on with all paths, or peeks for those that have a choice, at every code or
    where few have one.
    """
    catalogue = random_catalogue(N_ITEMS, forbid=RULES, min_length=1, max_length=4)
    policy = random_policy(catalogue).double()
    shares = (catalogue.trie.only_code[catalogue.trie.item_parents[1:, 1:].long()] >= 0).double().mean(0)
    assert ((shares > 0) & (shares < 1)).any()
    *_, expected = drawn(catalogue, policy, n_prompts=12)
    monkeypatch.setattr("prorl.policy.decoding.ALL_AT_ONCE", all_at_once)
    *_, paths = drawn(catalogue, policy, n_prompts=12)
    assert torch.equal(paths.tokens, expected.tokens)
    torch.testing.assert_close(paths.log_prob, expected.log_prob, rtol=0, atol=1e-12)


@pytest.mark.parametrize("forbid", SUBSETS, ids=lambda rules: "+".join(rules) or "nothing")
@pytest.mark.parametrize("lengths", [(1, 4), (3, 3), (2, 4), (0, 3)])
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_rollouts_keep_the_rules_and_only_those(forbid, lengths, ids):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid, min_length=lengths[0], max_length=lengths[1], **ids)
    history, target, paths = drawn(catalogue, random_policy(catalogue), n_prompts=24, m=24)
    length = (paths.items != 0).sum(-1)
    assert torch.equal(paths.length, length)
    assert set(length.unique().tolist()) == set(range(lengths[0], lengths[1] + 1))
    assert torch.equal(paths.items != 0, torch.arange(lengths[1]) < length[..., None])  # no hole
    broken = dict.fromkeys(RULES, 0)
    for known, goal, paths_of_prompt in zip(history.tolist(), target.tolist(), paths.items, strict=True):
        for path in paths_of_prompt.tolist():
            path = [i for i in path if i]
            broken["repeats"] += len(set(path)) < len(path)
            broken["history"] += bool(set(path) & set(known))
            broken["target"] += goal in path
    assert {rule for rule, times in broken.items() if times == 0} == set(forbid)


@pytest.mark.parametrize("forbid", [[], RULES], ids=["nothing", "all"])
@pytest.mark.parametrize("target_tokens", ["shared", "separate"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
@torch.no_grad()
def test_log_probabilities_of_the_sampler_equal_those_of_the_loss_and_of_plain_loops(
    forbid, target_tokens, temperature, ids
):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid, target_tokens=target_tokens, **ids)
    policy = random_policy(catalogue).double()
    history, target, paths = drawn(catalogue, policy, temperature=temperature)
    expected = loss_log_probs(policy, catalogue, history, target, paths, temperature)
    torch.testing.assert_close(paths.log_prob, expected, rtol=0, atol=1e-12)
    for b, j in [(0, 0), (3, 2), (5, 7)]:
        path = [i for i in paths.items[b, j].tolist() if i]
        plain = naive.action_log_probs(policy, catalogue, history[b], target[b], path, temperature)
        assert paths.log_prob[b, j, : len(plain)].tolist() == pytest.approx(plain, abs=1e-12)
        assert paths.log_prob[b, j, len(plain) :].eq(0).all()


@torch.no_grad()
def test_paths_are_drawn_with_their_exact_probabilities():
    catalogue = random_catalogue(6, forbid=RULES, max_length=2, n_levels=2, codebook_size=3)
    policy = random_policy(catalogue, seed=3).double()
    history, target = torch.tensor([[1, 4, 4]]), torch.tensor([6])
    possible = naive.allowed_paths(catalogue, history[0], target[0])
    probability = {
        tuple(path): math.exp(sum(naive.action_log_probs(policy, catalogue, history[0], target[0], path)))
        for path in possible
    }
    assert len(possible) == 9  # three items are left; alone, or in pairs without repeats
    assert sum(probability.values()) == pytest.approx(1.0, abs=1e-6)
    n = 20_000
    paths = rollouts(
        policy, catalogue, history, target, keyed_uniforms(5, torch.zeros(1), n, catalogue.n_tokens)
    )
    counts = dict.fromkeys(probability, 0)
    for row in paths.items[0].tolist():
        counts[tuple(i for i in row if i)] += 1
    assert chisquare(list(counts.values()), [n * p for p in probability.values()]).pvalue > 0.001


@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
@torch.no_grad()
def test_greedy_paths_take_the_likeliest_token_at_every_step(ids):
    catalogue = random_catalogue(N_ITEMS, forbid=RULES, **ids)
    policy = random_policy(catalogue, seed=1).double()
    history, target = random_prompts(8, N_ITEMS)
    paths = greedy(policy, catalogue, history, target)
    expected = [naive.greedy_path(policy, catalogue, *prompt) for prompt in zip(history, target, strict=True)]
    assert [[i for i in path if i] for path in paths.items[:, 0].tolist()] == expected
    assert len({tuple(path) for path in expected}) > 2
    torch.testing.assert_close(
        paths.log_prob, loss_log_probs(policy, catalogue, history, target, paths), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_a_rollout_does_not_depend_on_the_batch_it_is_drawn_in(ids):
    catalogue = random_catalogue(N_ITEMS, forbid=RULES, **ids)
    policy = random_policy(catalogue).double()
    history, target = random_prompts(8, N_ITEMS)
    number = torch.arange(100, 108)
    together = rollouts(policy, catalogue, history, target, keyed_uniforms(1, number, 6, catalogue.n_tokens))
    for rows in (torch.tensor([5]), torch.tensor([7, 0, 3])):
        apart = rollouts(
            policy,
            catalogue,
            history[rows],
            target[rows],
            keyed_uniforms(1, number[rows], 4, catalogue.n_tokens),
        )
        assert torch.equal(apart.items, together.items[rows, :4])
        torch.testing.assert_close(apart.log_prob, together.log_prob[rows, :4], rtol=0, atol=1e-12)


def test_keyed_uniforms_are_uniform_and_each_has_a_key_of_its_own():
    uniforms = keyed_uniforms(3, torch.arange(50), 20, 40)
    assert uniforms.shape == (50, 20, 40)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    counts = torch.histc(uniforms, bins=64, min=0, max=1)
    assert chisquare(counts.numpy()).pvalue > 0.001
    pairs = torch.histogramdd(
        torch.stack([uniforms[..., :-1].flatten(), uniforms[..., 1:].flatten()], dim=1),
        bins=[8, 8],
        range=[0, 1, 0, 1],
    )
    assert chisquare(pairs.hist.flatten().numpy()).pvalue > 0.001
    # 40,000 draws of 2^23 values: about 95 coincide by chance.
    assert uniforms.numel() - len(uniforms.unique()) < 140


def test_keyed_uniforms_depend_on_seed_prompt_rollout_and_position_alone():
    uniforms = keyed_uniforms(3, torch.tensor([4, 9, 2]), 6, 5)
    assert torch.equal(keyed_uniforms(3, torch.tensor([9]), 2, 5), uniforms[1:2, :2])
    assert torch.equal(keyed_uniforms(3, torch.tensor([2, 4]), 6, 5), uniforms[[2, 0]])
    assert not (keyed_uniforms(4, torch.tensor([4, 9, 2]), 6, 5) == uniforms).any()
    large = keyed_uniforms(2**31 - 1, torch.tensor([2**31]), 2, 2)
    assert ((large >= 0) & (large < 1)).all()
    assert len(large.unique()) == 4


def test_inverse_transform_takes_the_choice_whose_stretch_holds_the_number():
    weights = torch.tensor([0.0, 3.0, 0.0, 1.5, 1.5, 0.0], dtype=torch.float64)
    uniform = torch.tensor([0.0, 0.25, 0.4999, 0.5, 0.75, 1 - 2.0**-23])
    assert inverse_transform(weights.cumsum(0).repeat(6, 1), uniform).tolist() == [1, 1, 1, 3, 4, 4]


def test_a_choice_comes_with_its_log_probability():
    logits = (
        masked_log_softmax(
            3 * torch.randn(50, 9, dtype=torch.float64), torch.tensor([True] * 7 + [False] * 2)
        )
        + 2.0
    )
    for uniform in (None, torch.rand(50)):
        choice, log_prob = choose(logits, uniform)
        torch.testing.assert_close(log_prob, logits.log_softmax(-1).gather(1, choice[:, None])[:, 0])
    assert torch.equal(choose(logits, None)[0], logits.argmax(-1))


def test_a_choice_that_is_not_allowed_is_never_drawn_whatever_the_rounding():
    generator = torch.Generator().manual_seed(0)
    allowed = torch.rand(20_000, 57, generator=generator) < 0.3
    allowed[:, 5] = True
    logits = (8 * torch.randn(20_000, 57, generator=generator)).masked_fill(~allowed, -torch.inf)
    for uniform in (0.0, 0.5, 1 - 2.0**-23):
        choice, _ = choose(logits, torch.full((20_000,), uniform))
        assert allowed.gather(1, choice[:, None]).all()


@torch.no_grad()
def test_bf16_rollouts_keep_the_rules_and_stay_near_float32():
    catalogue = random_catalogue(N_ITEMS, forbid=RULES)
    policy = random_policy(catalogue)
    with torch.autocast("cpu", torch.bfloat16):
        history, target, paths = drawn(catalogue, policy, n_prompts=16)
        half = loss_log_probs(policy, catalogue, history, target, paths)
    assert paths.log_prob.dtype == torch.float32
    torch.testing.assert_close(paths.log_prob, half, rtol=0, atol=0.1)
    full = loss_log_probs(policy, catalogue, history, target, paths)
    assert not torch.equal(half, full)
    torch.testing.assert_close(paths.log_prob, full, rtol=0, atol=0.15)
    assert not (paths.items == target[:, None, None]).any()
