"""A policy as a guide."""

import copy

import pytest
import torch

from prorl.guide import BeamGuide, CostedGuide, SamplingGuide
from prorl.policy.beam import beams
from prorl.policy.checkpoints import save_policy
from prorl.policy.decoding import greedy
from prorl.policy.guide import PolicyGuide
from prorl.rl.step import take_step
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.t5.folded import FoldedT5
from tests.rl.short_runs import a_learner
from tests.tiny_models import FINETUNE, random_catalogue, random_policy, some_prompts

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


@pytest.mark.parametrize("n_prompts", [1, 5])
def test_a_guide_of_a_policy_in_training_never_writes_with_earlier_weights(n_prompts):
    """Made once and asked after every step, it writes as a guide made anew of the policy's weights."""
    learner = a_learner(FINETUNE.replace(learning_rate=0.1, embedding_learning_rate=0.1))
    guide, prompts = PolicyGuide(learner.policy, learner.catalogue), some_prompts(n_prompts, N_ITEMS)
    written = []
    for step in range(3):
        fresh = PolicyGuide(copy.deepcopy(learner.policy).requires_grad_(False), learner.catalogue)
        assert torch.equal(guide.paths(prompts), fresh.paths(prompts))
        assert torch.equal(guide.samples(prompts, 7, seed=2), fresh.samples(prompts, 7, seed=2))
        assert torch.equal(guide.beams(prompts, 3), fresh.beams(prompts, 3))
        written.append(guide.samples(prompts, 7, seed=2))
        take_step(learner, some_prompts(6, N_ITEMS), centering=True, seed=step)
    assert not torch.equal(written[0], written[2])


def test_a_loaded_policy_is_frozen_and_prepared_once(tmp_path, monkeypatch):
    guide, prompts = a_guide(), some_prompts(4, N_ITEMS)
    ids = tmp_path / "ids.parquet"
    codes = guide.catalogue.trie.item_codes[1:].numpy()
    write_semantic_ids(ids, codes, guide.catalogue.vocabulary)
    save_policy(tmp_path / "policy", guide.policy, guide.catalogue, ids)
    loaded = PolicyGuide.load(tmp_path / "policy", None, torch.device("cpu"), "float32")
    assert not any(weight.requires_grad for weight in loaded.policy.parameters())
    made, fold = [], FoldedT5.of
    monkeypatch.setattr(FoldedT5, "of", lambda *of: made.append(of) or fold(*of))
    for _ in range(3):
        assert torch.equal(loaded.paths(prompts), guide.paths(prompts))
        alone = [loaded.paths(prompts[i : i + 1]) for i in range(4)]
        assert torch.equal(torch.cat(alone), loaded.paths(prompts))
    assert sum(policy is loaded.policy for policy, *_ in made) == 2  # one for batches, one for single paths
