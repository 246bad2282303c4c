"""What is asked may differ from prompt to prompt of a batch."""

from dataclasses import replace

import pytest
import torch

from prorl.policy.catalogue import Asked
from prorl.policy.decoding import greedy, keyed_uniforms, likeliest, rollouts, sampled
from prorl.t5.folds import Folds
from tests.policy.test_decoding import RULES
from tests.tiny_models import random_catalogue, random_policy, random_prompts

N_ITEMS, M = 30, 3
OWN = [(1, 4, ()), (3, 3, (4, 9)), (2, 4, tuple(range(1, 16))), (1, 1, ()), (4, 4, (30,)), (1, 2, ())]


@pytest.fixture(scope="module")
def world():
    """A policy, and prompts each of which has rules of its own."""
    catalogue = random_catalogue(N_ITEMS, forbid=RULES)
    policy = random_policy(catalogue, seed=3).double()
    history, target = random_prompts(len(OWN), N_ITEMS)
    rules = [
        replace(
            catalogue, decoding=catalogue.decoding.replace(min_length=low, max_length=high).blocking(blocked)
        )
        for low, high, blocked in OWN
    ]
    prompts = [(history[i : i + 1], target[i : i + 1]) for i in range(len(OWN))]
    asked = Asked.joined([own.asked(*prompt) for own, prompt in zip(rules, prompts, strict=True)])
    return policy, catalogue, rules, prompts, asked


def same(one, other, t):
    """Paths for as many positions as the shorter longest path has."""
    assert torch.equal(one.items[..., :t], other.items[..., :t])
    assert torch.equal(one.length, other.length)
    torch.testing.assert_close(one.log_prob[..., : t + 1], other.log_prob[..., : t + 1], rtol=0, atol=1e-12)
    assert not one.items[..., t:].any()
    assert not one.log_prob[..., t + 1 :].any()


def test_every_prompt_has_the_samples_of_its_own_rules(world):
    policy, catalogue, rules, prompts, asked = world
    uniforms = keyed_uniforms(5, torch.arange(len(OWN)), M, catalogue.n_tokens)
    together = sampled(Folds(policy), catalogue, asked, uniforms, 1.3)
    for i, (own, prompt) in enumerate(zip(rules, prompts, strict=True)):
        alone = rollouts(policy, own, *prompt, uniforms[i : i + 1, :, : own.n_tokens], 1.3)
        same(together[torch.tensor([i])], alone, own.decoding.max_length)
    assert set(together.length[1].tolist()) == {3}
    assert not torch.isin(together.items[2], torch.arange(1, 16)).any()


def test_every_prompt_has_the_greedy_path_of_its_own_rules_alone_and_in_a_batch(world):
    policy, catalogue, rules, prompts, asked = world
    together = likeliest(Folds(policy), catalogue, asked)
    for i, (own, prompt) in enumerate(zip(rules, prompts, strict=True)):
        row = torch.tensor([i])
        same(together[row], greedy(policy, own, *prompt), own.decoding.max_length)
        same(together[row], likeliest(Folds(policy), catalogue, asked[row]), own.decoding.max_length)


def test_a_batch_ends_where_the_longest_have_stopped_before_others_are_as_long_as_they_may_be(world):
    policy, catalogue, _, prompts, _ = world
    asked = catalogue.asked(*prompts[0])
    stopping = replace(asked, shortest=torch.tensor([0]), longest=torch.tensor([4]))
    short = replace(asked, shortest=torch.tensor([1]), longest=torch.tensor([1]))
    certain = torch.full(
        (2, M, catalogue.n_tokens), 1 - 2.0**-23, dtype=torch.float64
    )  # the last choice: EOS
    paths = sampled(Folds(policy), catalogue, Asked.joined([stopping, short]), certain)
    assert paths.length.tolist() == [[0] * M, [1] * M]
