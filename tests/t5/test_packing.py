"""Paths laid end to end: the same states and gradients as each path by itself."""

import pytest
import torch

from prorl.t5.model import T5, T5Sizes
from prorl.t5.packing import Packing, within_groups

SIZES = T5Sizes(vocabulary=40, n_layers=2, d_model=16, d_ff=24, d_kv=5, n_heads=3, dropout=0.0)


@pytest.mark.parametrize(("m", "longest"), [(1, 9), (3, 14), (4, 1)])
def test_states_and_gradients_are_those_of_each_path_by_itself(m, longest):
    torch.manual_seed(0)
    policy, b = T5(SIZES).double(), 5
    prompt, path = torch.randint(1, 40, (b, 7)), torch.randint(1, 40, (b, m, longest))
    n_read = torch.randint(1, longest + 1, (b, m))
    n_read[2, 0] = longest
    weights = torch.randn(b, m, longest, SIZES.d_model, dtype=torch.float64)
    read = torch.arange(longest) < n_read[..., None]

    together = policy(prompt, path, n_read)
    (together * weights)[read].sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    policy.zero_grad()
    for i in range(b):
        for j in range(m):
            n = n_read[i, j]
            alone = policy(prompt[i : i + 1], path[i : i + 1, j : j + 1, :n])[0, 0]
            torch.testing.assert_close(together[i, j, :n], alone, rtol=0, atol=1e-12)
            (alone * weights[i, j, :n]).sum().backward()
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-9, atol=1e-9, msg=name)


def test_positions_within_groups():
    assert within_groups(torch.tensor([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]


def test_hardly_anything_behind_the_end_of_a_path_is_packed():
    n_read = torch.tensor([[5, 40], [9, 6], [13, 5]])
    packing = Packing.of(n_read, 41)
    assert packing.groups == ((2, 5), (2, 9), (1, 13), (1, 41))
    assert len(packing.place) == 10 + 18 + 13 + 41
    assert packing.place[:10].tolist() == [*range(5), *range(5 * 41, 5 * 41 + 5)]
    x = torch.randn(len(packing.place), 3)
    assert torch.equal(packing.from_rectangle(packing.to_rectangle(x)), x)
    assert (
        packing.to_rectangle(x).view(3, 46, 3)[1, 18:].abs().sum() == 0
    )  # the second prompt has 9 and 9 tokens
    assert torch.equal(packing.to_paths(x)[packing.place], x)
    assert Packing.of(torch.full((3, 2), 7), 7).in_order
