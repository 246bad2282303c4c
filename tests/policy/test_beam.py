"""Beam search against all paths written out, and against plain loops."""

import math

import pytest
import torch

from prorl.policy.beam import beams
from prorl.policy.decoding import greedy
from tests.policy import naive
from tests.policy.test_decoding import loss_log_probs
from tests.tiny_models import IDENTIFIERS, random_catalogue, random_policy, random_prompts

N_ITEMS = 30
RULES = ["repeats", "history", "target"]


@pytest.mark.parametrize("min_length", [0, 1])
@torch.no_grad()
def test_enough_beams_give_every_path_the_likeliest_first(min_length):
    catalogue = random_catalogue(
        6, forbid=RULES, min_length=min_length, max_length=2, n_levels=2, codebook_size=3
    )
    policy = random_policy(catalogue, seed=3).double()
    history, target = torch.tensor([[1, 4, 4], [2, 2, 3]]), torch.tensor([6, 1])
    found = beams(policy, catalogue, history, target, 12)
    for b in range(2):
        every = naive.allowed_paths(catalogue, history[b], target[b])
        assert len(every) == 9 + (min_length == 0)
        score = {
            tuple(path): sum(naive.action_log_probs(policy, catalogue, history[b], target[b], path))
            for path in every
        }
        paths = [tuple(i for i in path if i) for path in found.items[b].tolist()]
        assert paths[: len(every)] == sorted(score, key=score.get, reverse=True)
        assert set(paths[len(every) :]) == {paths[0]}  # there are no more
        assert found.log_prob[b].sum(-1).tolist() == pytest.approx([score[path] for path in paths], abs=1e-10)
        assert math.fsum(found.log_prob[b, : len(every)].sum(-1).exp().tolist()) == pytest.approx(
            1.0, abs=1e-6
        )


@pytest.mark.parametrize("n_beams", [1, 3])
@pytest.mark.parametrize("forbid", [[], RULES], ids=["nothing", "all"])
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
@torch.no_grad()
def test_few_beams_keep_the_best_prefixes_of_every_length(n_beams, forbid, ids):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid, **ids)
    policy = random_policy(catalogue, seed=1).double()
    history, target = random_prompts(4, N_ITEMS)
    found = beams(policy, catalogue, history, target, n_beams)
    for b in range(4):
        expected = naive.beam_paths(policy, catalogue, history[b], target[b], n_beams)
        assert [[i for i in path if i] for path in found.items[b].tolist()] == expected
    torch.testing.assert_close(
        found.log_prob, loss_log_probs(policy, catalogue, history, target, found), rtol=0, atol=1e-12
    )
    if n_beams == 1:
        assert torch.equal(found.items, greedy(policy, catalogue, history, target).items)
        assert torch.equal(found.tokens, greedy(policy, catalogue, history, target).tokens)


@torch.no_grad()
def test_unconstrained_beams_are_scored_token_by_token():
    catalogue = random_catalogue(
        6, constrained=False, min_length=0, max_length=2, n_levels=2, codebook_size=3
    )
    policy = random_policy(catalogue).double()
    history, target = random_prompts(3, 6)
    found = beams(policy, catalogue, history, target, 5)
    torch.testing.assert_close(
        found.log_prob, loss_log_probs(policy, catalogue, history, target, found), rtol=0, atol=1e-12
    )
    total = found.log_prob.sum(-1)
    assert torch.equal(total, total.sort(dim=1, descending=True).values)
    assert all(len({tuple(row) for row in rows}) == 5 for rows in found.tokens.tolist())
