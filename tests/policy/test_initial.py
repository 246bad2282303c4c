"""Policies before any training."""

from dataclasses import replace

import pytest
import torch

from prorl.config.policy import Policy
from prorl.policy.initial import new_policy, turned
from prorl.runtime import derived_seed
from prorl.t5.model import T5, T5Sizes
from tests.tiny_models import PARAMS, random_catalogue

SETTINGS = PARAMS.section(Policy).replace(n_layers=1, d_model=8, d_ff=16, d_kv=4, n_heads=2, dropout=0.1)


@pytest.mark.parametrize(("target_tokens", "n_ids"), [("shared", 15), ("separate", 27)])
def test_weights_are_drawn_with_the_seed_over_the_ids_of_the_catalogue(target_tokens, n_ids):
    catalogue = random_catalogue(n_levels=3, codebook_size=4, target_tokens=target_tokens)
    assert (
        catalogue.n_ids == n_ids
    )  # 12 codes, padding, the reserved id and EOS; the target's 12 where separate
    torch.manual_seed(derived_seed(5, "pretrain", "weights"))
    expected = T5(T5Sizes(n_ids, 1, 8, 16, 4, 2, 0.1))
    found = new_policy(SETTINGS, catalogue, 5)
    assert found.sizes == expected.sizes
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name
    other = new_policy(SETTINGS, catalogue, 6)
    assert not torch.equal(other.shared.weight, found.shared.weight)


@pytest.mark.parametrize("target_tokens", ["shared", "separate"])
@pytest.mark.parametrize("prompt", ["codes", "items"])
def test_embeddings_may_start_from_the_vectors_of_items(prompt, target_tokens):
    catalogue = replace(random_catalogue(target_tokens=target_tokens), prompt=prompt)
    vectors = torch.randn(31, 5, generator=torch.Generator().manual_seed(0))
    drawn = new_policy(SETTINGS, catalogue, 5).state_dict()
    policy = new_policy(SETTINGS, catalogue, 5, vectors).state_dict()
    for name in drawn:
        assert torch.equal(policy[name], drawn[name]) == (name != "shared.weight"), name
    table = policy["shared.weight"]

    own = table[catalogue.item_ids[0]] if prompt == "items" else None
    if own is not None:
        centred = vectors[1:] - vectors[1:].mean(0)
        cosines = torch.nn.functional.normalize(centred, dim=1)
        turned_cosines = own @ own.T / SETTINGS.d_model
        torch.testing.assert_close(turned_cosines, cosines @ cosines.T, rtol=0, atol=1e-5)
        assert all(torch.equal(table[ids], own) for ids in catalogue.item_ids)
        # A first code is where its items are.
        codes = catalogue.trie.item_codes[1:, 0]
        for code in codes.unique().tolist():
            mean = own[codes == code].mean(0)
            torch.testing.assert_close(table[1 + code], mean / mean.square().mean().sqrt())

    # Every code of an item starts anew; all else is as drawn: padding, EOS, codes of no item.
    used = set(catalogue.item_tokens(torch.arange(1, 31)).flatten().tolist())
    if prompt == "codes" and target_tokens == "separate":
        used |= {catalogue.vocabulary.eos + token for token in used}
    used |= {token for ids in catalogue.item_ids for token in range(ids.start, ids.stop)}
    as_drawn = (table == drawn["shared.weight"]).all(1)
    assert as_drawn.logical_not().nonzero()[:, 0].tolist() == sorted(used)
    torch.testing.assert_close(table[sorted(used)].square().mean(1), torch.ones(len(used)))


def test_a_codes_later_level_is_what_the_one_before_has_left():
    catalogue = replace(random_catalogue(30, n_levels=2, codebook_size=8), prompt="items")
    vectors = torch.randn(31, 5, generator=torch.Generator().manual_seed(0))
    table = new_policy(SETTINGS, catalogue, 5, vectors).shared.weight.detach()
    own, (first, second) = table[catalogue.item_ids[0]], catalogue.trie.item_codes[1:].T
    left = torch.stack([own[i] - own[first == first[i]].mean(0) for i in range(30)])
    code = second.mode().values
    mean = left[second == code].mean(0)
    torch.testing.assert_close(table[9 + code], mean / mean.square().mean().sqrt(), rtol=1e-4, atol=1e-5)


def test_vectors_wider_than_the_policy_are_brought_to_its_width():
    vectors = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    found = turned(vectors, 8, torch.Generator().manual_seed(2))
    assert found.shape == (40, 8)
    torch.testing.assert_close(found.square().mean(1), torch.ones(40))
    assert torch.equal(found, turned(vectors, 8, torch.Generator().manual_seed(2)))
    assert not torch.equal(found, turned(vectors, 8, torch.Generator().manual_seed(3)))
