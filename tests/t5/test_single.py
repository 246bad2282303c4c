"""One path's decoder against one pass over all tokens, in float64."""

import pytest
import torch

from prorl.t5.folded import FoldedT5
from prorl.t5.single import SingleDecoder, SingleLayers
from tests.tiny_models import random_catalogue, random_policy


def tokens(*shape, seed=0):
    return torch.randint(1, 15, shape, generator=torch.Generator().manual_seed(seed))


def decoder_of(policy, prompt, max_tokens=20):
    return SingleDecoder(SingleLayers.of(FoldedT5.of(policy), max_tokens), prompt)


@pytest.mark.parametrize("sizes", [[1] * 20, [3, 1, 14, 2], [20]])  # beyond 16, distances share buckets
@pytest.mark.parametrize("n_read", [9, 4])
@torch.no_grad()
def test_steps_equal_one_pass(policy, sizes, n_read):
    prompt, path = tokens(9), tokens(20, seed=1)
    prompt[n_read:] = 0
    states = policy(prompt[None], path[None, None])[0, 0]
    decoder, end = decoder_of(policy, prompt), 0
    for size in sizes:
        state = decoder.step(path[end : end + size].tolist())
        end += size
        expected = policy.logits(states[end - 1], slice(3, 12))
        torch.testing.assert_close(decoder.logits(state, slice(3, 12)), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_token_of_length_zero_is_normed_as_the_policy_does(policy):
    """Where nothing but the norm's epsilon is left."""
    prompt, silent = tokens(9), random_policy(random_catalogue()).double()
    silent.load_state_dict(policy.state_dict())
    silent.shared.weight[5] *= 1e-5
    expected = silent(prompt[None], torch.tensor([[[5]]]))[0, 0, 0]
    decoder = decoder_of(silent, prompt)
    logits = decoder.logits(decoder.step([5]), slice(0, 12))
    torch.testing.assert_close(logits, silent.logits(expected, slice(0, 12)), rtol=0, atol=1e-12)


@torch.no_grad()
def test_in_float32_it_is_near_to_full_precision(policy):
    single = random_policy(random_catalogue())
    single.load_state_dict(policy.state_dict())
    prompt, path = tokens(9), tokens(6, seed=1)
    decoder = decoder_of(single, prompt)
    logits = decoder.logits(decoder.step(path.tolist()), slice(0, 12))
    assert logits.dtype == torch.float32
    expected = policy.logits(policy(prompt[None], path[None, None])[0, 0, -1], slice(0, 12))
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=1e-5)
