"""Policies before any training."""

import pytest
import torch

from prorl.config.policy import Policy
from prorl.policy.initial import new_policy
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
