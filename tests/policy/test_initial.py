"""Policies before any training."""

import pytest
import torch

from prorl.config.policy import Policy
from prorl.policy.initial import new_policy, turned
from prorl.runtime import derived_seed
from prorl.t5.model import T5, T5Sizes
from tests.tiny_models import IDENTIFIERS, PARAMS, random_catalogue

SETTINGS = PARAMS.section(Policy).replace(n_layers=1, d_model=8, d_ff=16, d_kv=4, n_heads=2, dropout=0.1)
VECTORS = torch.randn(31, 5, generator=torch.Generator().manual_seed(0))


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
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_embeddings_may_start_from_the_vectors_of_items(ids, target_tokens):
    catalogue = random_catalogue(30, target_tokens=target_tokens, **ids)
    drawn = new_policy(SETTINGS, catalogue, 5).state_dict()
    policy = new_policy(SETTINGS, catalogue, 5, VECTORS).state_dict()
    for name in drawn:
        assert torch.equal(policy[name], drawn[name]) == (name != "shared.weight"), name
    table = policy["shared.weight"]

    # Every code of an item starts anew; all else is as drawn: padding, EOS, codes of no item.
    used = set(catalogue.item_tokens(torch.arange(1, 31)).flatten().tolist())
    eos = catalogue.vocabulary.eos
    if target_tokens == "separate":
        for token in used:
            assert torch.equal(table[eos + token], table[token])
        used |= {eos + token for token in used}
    as_drawn = (table == drawn["shared.weight"]).all(1)
    assert as_drawn.logical_not().nonzero()[:, 0].tolist() == sorted(used)
    torch.testing.assert_close(table[sorted(used)].square().mean(1), torch.ones(len(used)))


def test_an_items_own_token_keeps_its_angles_to_all_others():
    catalogue = random_catalogue(30, **IDENTIFIERS["item"])
    table = new_policy(SETTINGS, catalogue, 5, VECTORS).shared.weight.detach()
    own = table[catalogue.item_tokens(torch.arange(1, 31))[:, 0]]
    directions = torch.nn.functional.normalize(VECTORS[1:] - VECTORS[1:].mean(0), dim=1)
    torch.testing.assert_close(own @ own.T / SETTINGS.d_model, directions @ directions.T, rtol=0, atol=1e-5)


def test_a_code_is_where_its_items_are_and_a_later_one_what_is_left():
    catalogue = random_catalogue(30, n_levels=2, codebook_size=8)
    table = new_policy(SETTINGS, catalogue, 5, VECTORS).shared.weight.detach()
    generator = torch.Generator().manual_seed(derived_seed(5, "pretrain", "embeddings"))
    own, (first, second) = turned(VECTORS[1:], 8, generator), catalogue.trie.item_codes[1:].T
    left = torch.stack([own[i] - own[first == first[i]].mean(0) for i in range(30)])
    for start, codes, vectors in ((1, first, own), (9, second, left)):
        code = codes.mode().values
        mean = vectors[codes == code].mean(0)
        torch.testing.assert_close(
            table[start + code], mean / mean.square().mean().sqrt(), rtol=1e-4, atol=1e-5
        )


def test_vectors_wider_than_the_policy_are_brought_to_its_width():
    vectors = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    found = turned(vectors, 8, torch.Generator().manual_seed(2))
    assert found.shape == (40, 8)
    torch.testing.assert_close(found.square().mean(1), torch.ones(40))
    assert torch.equal(found, turned(vectors, 8, torch.Generator().manual_seed(2)))
    assert not torch.equal(found, turned(vectors, 8, torch.Generator().manual_seed(3)))
