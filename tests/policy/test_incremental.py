"""One token at a time against one pass over all of them, in float64."""

import pytest
import torch

from prorl.policy.incremental import IncrementalDecoder
from tests.tiny_models import random_catalogue, random_policy


@pytest.fixture(scope="module")
def policy():
    return random_policy(random_catalogue()).double()


def tokens(*shape, seed=0):
    return torch.randint(1, 15, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_tokens", [3, 40])  # beyond 16 tokens, distances share buckets
@torch.no_grad()
def test_steps_equal_one_pass(policy, n_tokens):
    prompt, path = tokens(3, 6), tokens(3, 2, n_tokens, seed=1)
    prompt[1, 4:] = 0
    decoder = IncrementalDecoder(policy, policy.encode(prompt), 2, n_tokens)
    states = torch.stack([decoder.step(path[..., i]) for i in range(n_tokens)], dim=2)
    torch.testing.assert_close(states, policy(prompt, path), rtol=0, atol=1e-12)


@torch.no_grad()
def test_some_rows_in_another_order_go_on_as_before(policy):
    prompt, path = tokens(3, 6), tokens(3, 3, 5, seed=1)
    decoder = IncrementalDecoder(policy, policy.encode(prompt), 3, 5)
    for i in range(4):
        decoder.step(path[..., i])
    prompts, of_prompt = torch.tensor([2, 0]), torch.tensor([[1, 0], [2, 2]])
    decoder.select(prompts, prompts[:, None] * 3 + of_prompt)
    kept = path[prompts[:, None], of_prompt]
    torch.testing.assert_close(decoder.step(kept[..., 4]), policy(prompt[prompts], kept)[:, :, 4], rtol=0, atol=1e-12)


@torch.no_grad()
def test_under_autocast_states_are_near_those_of_full_precision(policy):
    single = random_policy(random_catalogue())
    prompt, path = tokens(3, 6), tokens(3, 2, 4, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        decoder = IncrementalDecoder(single, single.encode(prompt), 2, 4)
        states = torch.stack([decoder.step(path[..., i]) for i in range(4)], dim=2)
    assert decoder.dtype == torch.bfloat16
    assert states.dtype == torch.float32
    torch.testing.assert_close(states.double(), policy(prompt, path), rtol=0, atol=0.05)
    assert (states.double() - policy(prompt, path)).abs().max() > 1e-5
