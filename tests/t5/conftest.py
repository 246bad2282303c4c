"""Each test of this room starts with an accelerator of its own; the tests of folded layers share a policy."""

import pytest
import torch

from tests.tiny_models import fresh_accelerator, random_catalogue, random_policy  # noqa: F401


@pytest.fixture(scope="module")
def policy():
    """Random scales of the norms, so that one forgotten would show."""
    policy = random_policy(random_catalogue()).double()
    generator = torch.Generator().manual_seed(1)
    for name, weight in policy.named_parameters():
        if "layer_norm" in name:
            weight.data.uniform_(0.5, 1.5, generator=generator)
    return policy
