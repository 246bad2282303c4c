"""The encoder without keys and values against `T5`'s, in float64 and in bf16."""

import pytest
import torch

from prorl.t5.folded import ENCODED_AT_ONCE, FoldedT5, attend, encoded
from tests.tiny_models import random_catalogue, random_policy


@pytest.fixture
def prompts():
    """The fourth is padded."""
    prompts = torch.randint(1, 15, (5, 9), generator=torch.Generator().manual_seed(0))
    prompts[3, 4:] = 0
    return prompts


@pytest.mark.parametrize("at_once", [2 * 9, 2**20])  # tokens; also with fewer prompts in the last part
@torch.no_grad()
def test_the_encoder_is_the_policys(monkeypatch, policy, prompts, at_once):
    monkeypatch.setitem(ENCODED_AT_ONCE, "cpu", at_once)
    own, expected = encoded(FoldedT5.of(policy), prompts), policy.encode(prompts)
    read = prompts != 0  # what padding comes to is of no meaning
    torch.testing.assert_close(own.states[read], expected.states[read], rtol=0, atol=1e-12)
    assert torch.equal(own.mask, expected.mask)


def test_attend_is_a_softmax_over_the_tokens():
    generator = torch.Generator().manual_seed(0)
    queries, tokens, bias = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in ((2, 6, 4), (2, 5, 4), (2, 6, 5))
    )
    plain = (queries @ tokens.mT + bias).softmax(-1) @ tokens
    torch.testing.assert_close(attend(queries, tokens, bias), plain, rtol=0, atol=1e-13)


@torch.no_grad()
def test_under_autocast_it_is_as_near_to_full_precision_as_the_policys_own(policy, prompts):
    exact = policy.encode(prompts).states
    single = random_policy(random_catalogue())
    single.load_state_dict(policy.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        own, plain = encoded(FoldedT5.of(single), prompts).states, single.encode(prompts).states
    assert own.dtype == plain.dtype == torch.bfloat16
    read = prompts != 0
    off, plain_off = ((states.double() - exact)[read].norm() / exact[read].norm() for states in (own, plain))
    assert 1e-5 < off < 1.5 * plain_off
