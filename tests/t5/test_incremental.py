"""One token at a time against one pass over all of them, in float64."""

import pytest
import torch

from prorl.t5.folded import FoldedT5
from prorl.t5.incremental import IncrementalDecoder
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
    decoder = IncrementalDecoder(FoldedT5.of(policy), prompt, 2, n_tokens)
    states = torch.stack([decoder.step(path[..., i].flatten()[:, None]) for i in range(n_tokens)], dim=1)
    torch.testing.assert_close(states, policy(prompt, path).flatten(0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[3, 1, 14, 2], [20]])  # beyond the room for 16
@torch.no_grad()
def test_steps_of_several_tokens_equal_one_pass(policy, sizes):
    prompt, path = tokens(3, 6), tokens(3, 2, 20, seed=1)
    expected, flat = policy(prompt, path).flatten(0, 1), path.flatten(0, 1)
    decoder, end = IncrementalDecoder(FoldedT5.of(policy), prompt, 2, 20), 0
    for size in sizes:
        states = decoder.step(flat[:, end : end + size])
        end += size
        torch.testing.assert_close(states, expected[:, end - 1], rtol=0, atol=1e-12)


@torch.no_grad()
def test_peeking_gives_what_a_step_would_and_leaves_no_trace(policy):
    prompt, path = tokens(3, 6), tokens(3, 3, 20, seed=1)
    prompt[1, 4:] = 0
    expected, flat = policy(prompt, path).flatten(0, 1), path.flatten(0, 1)
    decoder = IncrementalDecoder(FoldedT5.of(policy), prompt, 3, 20)
    decoder.step(flat[:, :14])
    rows = decoder.keep(torch.arange(9) % 4 != 0)
    some = torch.tensor([4, 0, 3])
    for end in (15, 18):
        states = decoder.peek(flat[rows[some], 14:end], some)
        torch.testing.assert_close(states, expected[rows[some], end - 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(decoder.step(flat[rows, 14:17]), expected[rows, 16], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 3])
@torch.no_grad()
def test_branches_give_what_steps_of_each_would_and_leave_no_trace(policy, n):
    prompt, path = tokens(3, 6), tokens(3, 3, 20, seed=1)
    prompt[1, 4:] = 0
    flat, ways = path.flatten(0, 1), tokens(9, 4, n, seed=2)
    decoder = IncrementalDecoder(FoldedT5.of(policy), prompt, 3, 20)
    decoder.step(flat[:, :15])
    rows = decoder.keep(torch.arange(9) % 4 != 0)
    states = decoder.branch(ways[rows])
    for c in range(4):
        whole = torch.cat([flat[:, :15], ways[:, c]], dim=1).view(3, 3, -1)
        expected = policy(prompt, whole).flatten(0, 1)[rows, -1]
        torch.testing.assert_close(states[:, c], expected, rtol=0, atol=1e-12)
    expected = policy(prompt, path).flatten(0, 1)[rows, 16]
    torch.testing.assert_close(decoder.step(flat[rows, 15:17]), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_more_rows_than_before_may_be_selected(policy):
    prompt, path = tokens(3, 6), tokens(3, 1, 5, seed=1)
    decoder = IncrementalDecoder(FoldedT5.of(policy), prompt, 1, 5)
    decoder.step(path[:, 0, :4])
    rows = torch.tensor([0, 2, 2, 0, 1, 2])
    decoder.select(rows)
    expected = policy(prompt, path)[rows, 0, 4]
    torch.testing.assert_close(decoder.step(path[rows, 0, 4:]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "left", [[0, 2, 3, 4, 5, 6, 8], [1, 7, 8], [5], list(range(9))]
)  # of three prompts' three rows each
@torch.no_grad()
def test_rows_that_are_kept_go_on_as_before(policy, left):
    prompt, path = tokens(3, 6), tokens(3, 3, 5, seed=1)
    decoder = IncrementalDecoder(FoldedT5.of(policy), prompt, 3, 5)
    for i in range(4):
        decoder.step(path[..., i].flatten()[:, None])
    running = torch.zeros(9, dtype=torch.bool)
    running[left] = True
    rows = decoder.keep(running)
    assert sorted(rows.tolist()) == left
    expected = policy(prompt, path)[:, :, 4].flatten(0, 1)
    torch.testing.assert_close(
        decoder.step(path[..., 4].flatten()[rows, None]), expected[rows], rtol=0, atol=1e-12
    )


@torch.no_grad()
def test_rows_are_kept_again_and_again(policy):
    prompt, path = tokens(4, 6), tokens(4, 4, 8, seed=1)
    expected, flat = policy(prompt, path).flatten(0, 1), path.flatten(0, 1)
    decoder, rows = IncrementalDecoder(FoldedT5.of(policy), prompt, 4, 8), torch.arange(16)
    for i in range(8):
        torch.testing.assert_close(decoder.step(flat[rows, i, None]), expected[rows, i], rtol=0, atol=1e-12)
        rows = rows[decoder.keep((rows * 7 + i) % 11 != 0)]
    assert 0 < len(rows) < 8


@torch.no_grad()
def test_rows_selected_in_another_order_go_on_as_before(policy):
    prompt, path = tokens(3, 6), tokens(3, 3, 5, seed=1)
    flat = path.flatten(0, 1)
    decoder, rows = (
        IncrementalDecoder(FoldedT5.of(policy), prompt, 3, 5),
        torch.tensor([4, 3, 4, 8, 6, 7]),
    )  # one goes on twice
    for i in range(4):
        decoder.step(flat[:, i, None])
    decoder.select(rows)
    expected = policy(prompt, path).flatten(0, 1)[rows, 4]
    torch.testing.assert_close(decoder.step(flat[rows, 4, None]), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_under_autocast_states_are_near_those_of_full_precision(policy):
    single = random_policy(random_catalogue())
    prompt, path = tokens(3, 6), tokens(3, 2, 4, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        decoder = IncrementalDecoder(FoldedT5.of(single), prompt, 2, 4)
        states = torch.stack([decoder.step(path[..., i].flatten()[:, None]) for i in range(4)], dim=1)
    assert decoder.dtype == torch.bfloat16
    assert states.dtype == torch.float32
    expected = policy(prompt, path).flatten(0, 1)
    torch.testing.assert_close(states.double(), expected, rtol=0, atol=0.05)
    assert (states.double() - expected).abs().max() > 1e-5
