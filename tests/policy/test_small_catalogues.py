"""Catalogues of one, two and three items, where a path may come to hold all of them."""

import pytest
import torch

from prorl.errors import DataError
from prorl.policy.beam import beams
from prorl.policy.decoding import greedy, keyed_uniforms, rollouts
from tests.policy.test_decoding import loss_log_probs
from tests.tiny_models import random_catalogue, random_policy


@pytest.mark.parametrize("n_items", [1, 2, 3])
@pytest.mark.parametrize("min_length", [0, 1])
@torch.no_grad()
def test_a_path_that_holds_every_item_stops(n_items, min_length):
    catalogue = random_catalogue(
        n_items, forbid=["repeats"], min_length=min_length, max_length=4, n_levels=2, codebook_size=3
    )
    policy = random_policy(catalogue, seed=1).double()
    history, target = torch.ones(3, 2, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    uniforms = keyed_uniforms(0, torch.arange(3), 40, catalogue.n_tokens)
    batch = greedy(policy, catalogue, history, target)
    found = [
        batch,
        rollouts(policy, catalogue, history, target, uniforms),
        beams(policy, catalogue, history, target, 4),
    ]
    for paths in found:
        assert (paths.length <= n_items).all()
        assert (paths.length >= min_length).all()
        torch.testing.assert_close(paths.log_prob, loss_log_probs(policy, catalogue, history, target, paths))
    single = greedy(policy, catalogue, history[:1], target[:1])
    assert single.tokens[0].tolist() == batch.tokens[0].tolist()
    assert found[1].length.max() == n_items
    torch.testing.assert_close(single.log_prob[0], batch.log_prob[0])


def test_one_item_is_enough_where_it_may_come_again_and_again():
    catalogue = random_catalogue(1, forbid=[], min_length=3, max_length=4, n_levels=2, codebook_size=3)
    ones = torch.ones(1, 2, dtype=torch.int64)
    paths = greedy(random_policy(catalogue), catalogue, ones, ones[:, 0])
    assert paths.items[0, 0, :3].tolist() == [1, 1, 1]
    refused = random_catalogue(2, forbid=["repeats", "target"], n_levels=2, codebook_size=3, min_length=2)
    with pytest.raises(DataError, match=r"2 items: .*; 3 are enough"):
        refused.forbidden_at_start(ones, ones[:, 0])
