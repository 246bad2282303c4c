"""Unconstrained decoding: probabilities against Transformers' T5, groups that are items and groups that are
none, and the stop.
"""

import pytest
import torch
from scipy.stats import chisquare

from benchmarks.obvious import transformers_policy
from prorl.policy.catalogue import NO_TOKEN
from prorl.policy.decoding import greedy, keyed_uniforms, rollouts
from tests.policy.test_decoding import loss_log_probs
from tests.tiny_models import random_catalogue, random_policy, random_prompts

N_ITEMS = 6


def unconstrained(max_length=3, target_tokens="shared"):
    return random_catalogue(
        N_ITEMS,
        constrained=False,
        min_length=0,
        max_length=max_length,
        n_levels=2,
        codebook_size=3,
        target_tokens=target_tokens,
    )


def drawn(catalogue, policy, n_prompts=24, m=24, temperature=1.0):
    history, target = random_prompts(n_prompts, N_ITEMS)
    uniforms = keyed_uniforms(0, torch.arange(n_prompts), m, catalogue.n_tokens)
    return history, target, rollouts(policy, catalogue, history, target, uniforms, temperature)


def token_log_probs(policy, catalogue, history, target, tokens, temperature=1.0):
    """Log-probability of each of `tokens` [b, m, t * k] by Transformers, 0 behind the end."""
    m, emitted = tokens.shape[1], tokens != NO_TOKEN
    inputs = torch.cat([torch.zeros_like(tokens[..., :1]), tokens[..., :-1].clamp(min=0)], dim=2)
    logits = transformers_policy(policy, catalogue)(
        input_ids=catalogue.prompt_tokens(history, target).repeat_interleave(m, dim=0),
        decoder_input_ids=inputs.flatten(0, 1),
    ).logits[..., : catalogue.vocabulary.size]
    log_probs = (logits / temperature).log_softmax(-1).view(*tokens.shape, -1)
    return log_probs.gather(-1, tokens.clamp(min=0)[..., None])[..., 0] * emitted


def items_of(catalogue, tokens: list[int]) -> list[int]:
    """The items that whole groups of `tokens` are, -1 for none."""
    of_group = {tuple(catalogue.item_tokens(torch.tensor(i)).tolist()): i for i in range(1, N_ITEMS + 1)}
    k = catalogue.n_levels
    return [of_group.get(tuple(tokens[at : at + k]), -1) for at in range(0, len(tokens) - k + 1, k)]


def test_tokens_are_read_in_groups_and_the_first_end_ends_the_path():
    catalogue = unconstrained()
    _, _, paths = drawn(catalogue, random_policy(catalogue))
    eos = catalogue.vocabulary.eos
    ends, ids = set(), set()
    for row, items, length in zip(
        paths.tokens.flatten(0, 1).tolist(),
        paths.items.flatten(0, 1).tolist(),
        paths.length.flatten(),
        strict=True,
    ):
        emitted = row[: row.index(NO_TOKEN)] if NO_TOKEN in row else row
        assert set(row[len(emitted) :]) <= {NO_TOKEN}
        assert eos not in emitted[:-1]
        assert emitted[-1] == eos or len(emitted) == catalogue.n_tokens
        whole = emitted[:-1] if emitted[-1] == eos else emitted
        expected = items_of(catalogue, whole)
        assert items == expected + [0] * (3 - len(expected))
        assert length == len(expected)
        ends.add(len(whole))
        ids |= set(emitted)
    assert ends == set(
        range(catalogue.n_tokens + 1)
    )  # stops between groups, in their midst, at once, and not at all
    assert ids == set(range(catalogue.vocabulary.size))  # padding and the reserved id too
    assert {-1, 1, 2, 3, 4, 5, 6} <= set(paths.items.flatten().tolist())


@pytest.mark.parametrize("target_tokens", ["shared", "separate"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_log_probabilities_are_those_of_transformers_and_of_the_loss(target_tokens, temperature):
    catalogue = unconstrained(target_tokens=target_tokens)
    policy = random_policy(catalogue).double()
    history, target, paths = drawn(catalogue, policy, n_prompts=6, m=9, temperature=temperature)
    by_token = token_log_probs(policy, catalogue, history, target, paths.tokens, temperature)
    expected = torch.zeros_like(paths.log_prob)
    for place in range(catalogue.n_tokens):
        expected[..., place // catalogue.n_levels] += by_token[..., place]
    torch.testing.assert_close(paths.log_prob, expected, rtol=0, atol=1e-5)
    loss = loss_log_probs(policy, catalogue, history, target, paths, temperature)
    torch.testing.assert_close(paths.log_prob, loss, rtol=0, atol=1e-12)
    assert (
        paths.log_prob.lt(0).sum() == (paths.length + 1).clamp(max=3).sum()
    )  # a stop in mid-group is one action with all its tokens


@torch.no_grad()
def test_token_sequences_are_drawn_with_their_exact_probabilities():
    catalogue = unconstrained(max_length=1)
    policy = random_policy(catalogue, seed=3).double()
    history, target = random_prompts(1, N_ITEMS)
    size, eos = catalogue.vocabulary.size, catalogue.vocabulary.eos
    possible = [(eos, NO_TOKEN)] + [(first, second) for first in range(size - 1) for second in range(size)]
    probability = (
        token_log_probs(policy, catalogue, history, target, torch.tensor([possible])).sum(-1)[0].exp()
    )
    assert probability.sum().item() == pytest.approx(1.0, abs=1e-6)
    n = 20_000
    paths = rollouts(policy, catalogue, history, target, keyed_uniforms(5, torch.zeros(1), n, 2))
    counts = dict.fromkeys(possible, 0)
    for row in paths.tokens[0].tolist():
        counts[tuple(row)] += 1
    assert chisquare(list(counts.values()), n * probability.numpy() / probability.sum().item()).pvalue > 0.001


@torch.no_grad()
def test_greedy_paths_are_those_of_generate():
    catalogue = unconstrained()
    policy = random_policy(catalogue, seed=1).double()
    policy.shared.weight.mul_(0.1)  # or every token repeats the one before
    history, target = random_prompts(12, N_ITEMS)
    paths = greedy(policy, catalogue, history, target)
    model = transformers_policy(policy, catalogue)
    expected = model.generate(
        catalogue.prompt_tokens(history, target),
        max_new_tokens=catalogue.n_tokens,
        do_sample=False,
        eos_token_id=catalogue.vocabulary.eos,
        pad_token_id=catalogue.vocabulary.pad,
        decoder_start_token_id=catalogue.vocabulary.pad,
    )[:, 1:]
    own = paths.tokens[:, 0, : expected.shape[1]]
    assert torch.equal(own.clamp(min=0), expected)
    assert (paths.tokens[:, 0, expected.shape[1] :] == NO_TOKEN).all()
    assert len({tuple(row) for row in own.tolist()}) > 2
