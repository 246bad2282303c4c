"""A policy as a guide."""

import torch

from prorl.guide import BeamGuide, CostedGuide, SamplingGuide
from prorl.policy.beam import beams
from prorl.policy.decoding import greedy
from prorl.policy.guide import PolicyGuide
from tests.tiny_models import random_catalogue, random_policy, some_prompts

N_ITEMS = 30
RULES = ["repeats", "history", "target"]


def a_guide():
    catalogue = random_catalogue(N_ITEMS, forbid=RULES)
    return PolicyGuide(random_policy(catalogue), catalogue)


def test_it_writes_greedy_paths_and_keyed_samples():
    guide, prompts = a_guide(), some_prompts(5, N_ITEMS)
    expected = greedy(guide.policy, guide.catalogue, prompts.history, prompts.target).items[:, 0]
    assert torch.equal(guide.paths(prompts), expected)
    samples = guide.samples(prompts, 7, seed=2)
    assert samples.shape == (5, 7, 4)
    assert torch.equal(guide.samples(prompts[2:], 3, seed=2), samples[2:, :3])
    assert not torch.equal(guide.samples(prompts, 7, seed=3), samples)


def test_it_names_its_beams():
    guide, prompts = a_guide(), some_prompts(2, N_ITEMS)
    expected = beams(guide.policy, guide.catalogue, prompts.history, prompts.target, 3).items
    assert torch.equal(guide.beams(prompts, 3), expected)


def test_what_it_can_do_is_seen_from_its_methods():
    guide = a_guide()
    assert guide.n_items == N_ITEMS
    assert isinstance(guide, SamplingGuide)
    assert isinstance(guide, BeamGuide)
    assert not isinstance(guide, CostedGuide)
