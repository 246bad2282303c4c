"""The released beam search against Transformers' own, and by hand under the rules of decoding."""

import pytest
import torch

from benchmarks.obvious import transformers_policy
from prorl.policy.beam import beams
from prorl.policy.catalogue import NO_TOKEN
from prorl.policy.live_beams import live_beams
from tests.policy import naive
from tests.policy.test_decoding import loss_log_probs
from tests.tiny_models import random_catalogue, random_policy, random_prompts

N_ITEMS = 6


def sharpened(catalogue, seed, likes_to_stop):
    """A policy that tells tokens apart, and stops often."""
    policy = random_policy(catalogue, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn(parameter.shape, generator=generator))
        policy.shared.weight[catalogue.vocabulary.eos] *= likes_to_stop
    return policy


@pytest.mark.parametrize("n_beams", [1, 2, 5])
@pytest.mark.parametrize(("seed", "likes_to_stop"), [(0, 1.0), (1, 3.0)])
@pytest.mark.parametrize(("n_levels", "codebook_size"), [(2, 3), (1, N_ITEMS)])
@torch.no_grad()
def test_paths_are_those_of_transformers(n_beams, seed, likes_to_stop, n_levels, codebook_size):
    catalogue = random_catalogue(
        N_ITEMS,
        constrained=False,
        min_length=0,
        max_length=3,
        n_levels=n_levels,
        codebook_size=codebook_size,
    )
    policy, eos = sharpened(catalogue, seed, likes_to_stop), catalogue.vocabulary.eos
    history, target = random_prompts(12, N_ITEMS)
    found = live_beams(policy, catalogue, history, target, n_beams)
    written = transformers_policy(policy, catalogue).generate(
        input_ids=catalogue.prompt_tokens(history, target),
        num_beams=n_beams,
        num_return_sequences=n_beams,
        do_sample=False,
        early_stopping=True,
        length_penalty=1.0,
        max_length=1 + catalogue.n_tokens,
        decoder_start_token_id=0,
        eos_token_id=eos,
        pad_token_id=0,
    )
    for ours, theirs in zip(found.tokens.flatten(0, 1).tolist(), written[:, 1:].tolist(), strict=True):
        end = theirs.index(eos) + 1 if eos in theirs else len(theirs)
        assert [token for token in ours if token != NO_TOKEN] == theirs[:end]
    torch.testing.assert_close(
        found.log_prob, loss_log_probs(policy, catalogue, history, target, found), rtol=0, atol=1e-4
    )


@torch.no_grad()
def test_a_path_that_stops_leaves_its_place_and_keeps_it_in_the_other_search():
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats"], min_length=0, n_levels=2, codebook_size=3)
    policy = sharpened(catalogue, 1, 3.0)
    history, target = random_prompts(20, N_ITEMS)
    ours, theirs = (search(policy, catalogue, history, target, 3) for search in (beams, live_beams))
    assert not torch.equal(ours.items, theirs.items)
    for b in range(20):
        paths = [[i for i in path if i] for path in theirs.items[b].tolist()]
        assert len({tuple(path) for path in paths}) == 3
        assert all(len(set(path)) == len(path) for path in paths)
        worth = []
        for path in paths:
            n_tokens = 2 * len(path) + (len(path) < catalogue.decoding.max_length)
            log_prob = sum(naive.action_log_probs(policy, catalogue, history[b], target[b], path))
            worth.append(log_prob / n_tokens)
        assert worth == sorted(worth, reverse=True)
        score = theirs.log_prob[b].sum(-1) / (theirs.tokens[b] != NO_TOKEN).sum(-1)
        assert score.tolist() == pytest.approx(worth, abs=1e-4)


@torch.no_grad()
def test_where_there_are_fewer_paths_the_best_fills_the_places():
    catalogue = random_catalogue(3, forbid=["repeats"], max_length=1, n_levels=2, codebook_size=3)
    history, target = random_prompts(2, 3)
    found = live_beams(random_policy(catalogue), catalogue, history, target, 5)
    for rows in found.items[..., 0].tolist():
        assert sorted(rows[:3]) == [1, 2, 3]
        assert rows[3:] == [rows[0]] * 2
