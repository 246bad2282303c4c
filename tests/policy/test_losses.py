"""The loss of pre-training: against Transformers', by hand, and of alternatives in their shares."""

from dataclasses import replace

import pytest
import torch

from benchmarks.obvious import transformers_policy
from prorl.policy.pretraining import alternative_tokens, n_tokens, summed_loss
from prorl.prompts import Demonstrations, concatenated
from tests.tiny_models import demonstrations_of, random_catalogue, random_demonstrations, random_policy

N_ITEMS = 30


@torch.no_grad()
def test_the_loss_is_that_of_transformers():
    catalogue = random_catalogue(N_ITEMS)
    policy = random_policy(catalogue).double()
    batch = random_demonstrations(12, N_ITEMS)
    assert set(batch.lengths.tolist()) == {1, 2, 3, 4}
    theirs = transformers_policy(policy, catalogue)
    labels = torch.full((12, 4 * 3 + 1), -100)
    for row, path in enumerate(batch.path):
        written = catalogue.item_tokens(path[path != 0]).flatten().tolist()
        if len(written) < 12:  # a path of the longest length has no stop
            written.append(catalogue.vocabulary.eos)
        labels[row, : len(written)] = torch.tensor(written)
    assert (labels != -100).sum() == n_tokens(batch, catalogue)
    expected = theirs(input_ids=catalogue.prompt_tokens(batch.history, batch.target), labels=labels).loss
    torch.testing.assert_close(
        summed_loss(policy, catalogue, batch) / n_tokens(batch, catalogue), expected, rtol=0, atol=1e-5
    )


@torch.no_grad()
def test_the_loss_of_a_path_does_not_depend_on_the_others_of_the_batch():
    catalogue = random_catalogue(N_ITEMS, target_tokens="separate")
    policy = random_policy(catalogue).double()
    batch = random_demonstrations(6, N_ITEMS)
    alone = sum(summed_loss(policy, catalogue, batch[torch.tensor([i])]) for i in range(6))
    torch.testing.assert_close(summed_loss(policy, catalogue, batch), alone, rtol=0, atol=1e-12)


@torch.no_grad()
def test_target_ids_of_their_own_take_no_part_in_the_loss():
    """A decoder never emits them, so the softmax of the loss is over the ids it may emit."""
    catalogue = random_catalogue(N_ITEMS, target_tokens="separate")
    policy = random_policy(catalogue).double()
    batch = random_demonstrations(4, N_ITEMS)
    batch = demonstrations_of(batch.history, batch.target, batch.path[:, :1])
    catalogue = replace(
        catalogue, decoding=catalogue.decoding.replace(max_length=1)
    )  # a path of one item, without a stop
    tokens = catalogue.item_tokens(batch.path).flatten(1)
    inputs = torch.cat([torch.zeros(4, 1, dtype=torch.int64), tokens[:, :-1]], dim=1)
    states = policy(catalogue.prompt_tokens(batch.history, batch.target), inputs[:, None])[:, 0]
    log_probs = policy.logits(states, slice(None))[..., : catalogue.vocabulary.size].log_softmax(-1)
    expected = -log_probs.gather(2, tokens[..., None]).sum()
    torch.testing.assert_close(summed_loss(policy, catalogue, batch), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_empty_paths_alone_have_the_loss_of_their_stops():
    """A policy that may write the empty path can do so for a whole batch."""
    catalogue = random_catalogue(N_ITEMS)
    policy = random_policy(catalogue).double()
    some = random_demonstrations(4, N_ITEMS)
    empty = demonstrations_of(some.history, some.target, torch.zeros_like(some.path))
    alone = summed_loss(policy, catalogue, empty)
    among = summed_loss(policy, catalogue, concatenated([empty, some])) - summed_loss(policy, catalogue, some)
    torch.testing.assert_close(alone, among, rtol=0, atol=1e-12)


def with_alternatives(n, c=5, seed=0):
    """Demonstrations with random alternatives, items and stops, at every position of a path and behind it."""
    batch = random_demonstrations(n, N_ITEMS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    alternatives = torch.randint(0, N_ITEMS + 1, (n, 4, c), generator=generator)
    shares = torch.rand(n, 4, c + 1, generator=generator).double()
    shares = (shares / shares.sum(-1, keepdim=True))[..., :c]  # the last is the path's own
    shares = shares * (torch.arange(4) <= batch.lengths[:, None])[..., None]
    shares[0, 0] = 0  # a position without alternatives
    prompts = (getattr(batch, name) for name in ("number", "user", "history", "target"))
    return Demonstrations(*prompts, batch.path, alternatives, shares)


@torch.no_grad()
@pytest.mark.parametrize("n_levels", [1, 2, 3])
@pytest.mark.parametrize("longest", [3, 4])
def test_the_loss_of_alternatives_is_the_cross_entropy_of_each_token_given_those_before(n_levels, longest):
    catalogue = random_catalogue(N_ITEMS, n_levels=n_levels, codebook_size=30 if n_levels == 1 else 6)
    policy = random_policy(catalogue).double()
    batch = with_alternatives(12)
    batch = batch[batch.lengths <= longest]
    assert set(batch.lengths.tolist()) == set(range(1, longest + 1))
    eos, expected = catalogue.vocabulary.eos, 0.0
    codes = catalogue.item_tokens(torch.arange(N_ITEMS + 1)).tolist()
    written = [[eos], *codes[1:]]  # the stop is one token
    for row in range(len(batch)):
        items = [item for item in batch.path[row].tolist() if item]
        tokens = [token for item in items for token in codes[item]]
        inputs = torch.tensor([[[0, *tokens]]])
        prompt = catalogue.prompt_tokens(batch.history[row : row + 1], batch.target[row : row + 1])
        log_probs = policy.logits(policy(prompt, inputs)[0, 0], slice(0, catalogue.vocabulary.size))
        log_probs = log_probs.log_softmax(-1)
        for t in range(min(len(items) + 1, 4)):
            own = items[t] if t < len(items) else 0
            mass = {own: 1 - batch.shares[row, t].sum().item()}
            for item, share in zip(
                batch.alternatives[row, t].tolist(), batch.shares[row, t].tolist(), strict=True
            ):
                mass[item] = mass.get(item, 0.0) + share
            for level in range(len(written[own])):
                alike = {i: share for i, share in mass.items() if written[i][:level] == written[own][:level]}
                for item, share in alike.items():
                    log_prob = log_probs[t * n_levels + level, written[item][level]]
                    expected -= share / sum(alike.values()) * log_prob.item()
    assert summed_loss(policy, catalogue, batch).item() == pytest.approx(expected, rel=1e-6)


@torch.no_grad()
def test_certain_demonstrations_among_others_keep_their_loss():
    catalogue = random_catalogue(N_ITEMS)
    policy = random_policy(catalogue).double()
    sure, unsure = random_demonstrations(5, N_ITEMS, seed=3), with_alternatives(7)
    together = summed_loss(policy, catalogue, concatenated([sure, unsure]))
    apart = summed_loss(policy, catalogue, sure) + summed_loss(policy, catalogue, unsure)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-9)


def test_shares_of_tokens_sum_to_at_most_one_and_only_where_a_token_is_written():
    catalogue = random_catalogue(N_ITEMS)
    batch = with_alternatives(9)
    labels = torch.zeros(9, 13, dtype=torch.int64)
    labels[:, :6] = catalogue.item_tokens(batch.path[:, :2]).flatten(1)
    _, shares = alternative_tokens(catalogue, batch, labels)
    assert shares.shape == (9, 13, 5)
    assert shares[labels == 0].eq(0).all()
    assert 0.5 < shares.sum(-1).max() <= 1
