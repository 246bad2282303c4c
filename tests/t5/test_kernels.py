"""Each part against PyTorch's plain form, its gradient against finite differences."""

import pytest
import torch

from prorl.t5.kernels import (
    LOGITS_PER_BLOCK,
    VECTOR_BYTES,
    attention_weights,
    dropout,
    exponential,
    for_device,
    heads,
    inverse_rms,
    relu,
    rms_norm,
    summed_cross_entropy,
)

VECTOR = VECTOR_BYTES // 8  # numbers in float64


def test_a_device_without_an_entry_takes_the_accelerators():
    values = {"cpu": 1, "cuda": 2}
    found = [for_device(values, torch.device(name)) for name in ("cpu", "cuda", "cuda:1", "mps")]
    assert found == [1, 2, 2, 2]


def test_summed_cross_entropy_runs_on_a_device_without_an_entry():
    states, weight, labels = (
        torch.empty(shape, dtype=dtype, device="meta")
        for shape, dtype in (((6, 4), torch.float32), ((5, 4), torch.float32), ((6,), torch.int64))
    )
    assert summed_cross_entropy(states, weight, labels, torch.float32).shape == ()


def test_exponential_of_what_underflows():
    x = torch.tensor([0.0, 1.0, -20.0, 30.0, -95.0, -200.0, -torch.inf])
    torch.testing.assert_close(exponential(x), x.exp(), rtol=1e-5, atol=0)
    assert exponential(x)[-2:].tolist() == [0, 0]
    torch.testing.assert_close(exponential(x.double()), x.double().exp(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("width", [3, VECTOR - 1, VECTOR, VECTOR + 5])
def test_attention_weights(width):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, width, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(3, 4, width, dtype=torch.float64, generator=generator)
    bias[:, 0, 1:] = -torch.inf
    bias.requires_grad_()
    torch.testing.assert_close(
        attention_weights(scores, bias), (scores + bias).softmax(-1), rtol=0, atol=1e-14
    )
    weight = torch.randn(scores.shape, dtype=torch.float64, generator=generator)
    own = torch.autograd.grad((attention_weights(scores, bias) * weight).sum(), (scores, bias))
    plain = torch.autograd.grad(((scores + bias).softmax(-1) * weight).sum(), (scores, bias))
    for gradient, expected in zip(own, plain, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", [5, 20])
def test_attention_weights_of_large_scores_and_one_bias_for_all(width):
    scores, bias = torch.randn(2, 3, 4, width) * 30, torch.randn(1, 1, 1, width)
    torch.testing.assert_close(attention_weights(scores, bias), (scores + bias).softmax(-1))


@pytest.mark.parametrize("width", [5, 20])
def test_gradients_of_attention_weights(width):
    scores, bias = (
        torch.randn(*shape, width, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 4), (3, 4))
    )
    hidden = torch.randn(3, 4, width, dtype=torch.float64).masked_fill(
        torch.ones(4, width).triu(2).bool(), -torch.inf
    )
    assert torch.autograd.gradcheck(attention_weights, (scores, bias))
    assert torch.autograd.gradcheck(lambda scores: attention_weights(scores, hidden), scores)


def test_attention_weights_of_half_precision_are_those_of_single_rounded():
    scores, bias = torch.randn(5, 20).bfloat16(), torch.randn(5, 20)
    weights = attention_weights(scores, bias)
    assert weights.dtype == torch.bfloat16
    assert torch.equal(weights, (scores.float() + bias).softmax(-1).bfloat16())


@pytest.mark.parametrize("width", [VECTOR_BYTES // 4 - 1, VECTOR_BYTES // 2 - 1, VECTOR_BYTES // 2])
def test_the_gradient_of_half_precision_weights_is_computed_in_single(width):
    scores = torch.randn(5, width).bfloat16().requires_grad_()
    gradient = torch.randn(5, width).bfloat16()
    weights = attention_weights(scores, torch.zeros(width))
    (of_scores,) = torch.autograd.grad(weights, scores, gradient)
    assert of_scores.dtype == torch.bfloat16
    a, g = weights.detach().double(), gradient.double()
    torch.testing.assert_close(
        of_scores.double(), a * (g - (g * a).sum(-1, keepdim=True)), rtol=2**-8, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_relu(dtype):
    start = torch.tensor(
        [[-torch.inf, -2.5, -1e-30, -0.0], [0.0, 1e-30, 3.25, torch.inf]], dtype=dtype, requires_grad=True
    )
    rectified = relu(start * 1)
    assert rectified.tolist() == torch.relu(start).tolist()
    gradient = torch.arange(1.0, 9).view(2, 4).to(dtype)
    (of_start,) = torch.autograd.grad(rectified, start, gradient)
    assert of_start.tolist() == [[0, 0, 0, 0], [0, 6, 7, 8]]


def test_heads():
    x = torch.randn(2, 5, 3 * 4 * 6, dtype=torch.float64, requires_grad=True)
    parts = heads(x, 3, 4)
    assert all(part.is_contiguous() for part in parts)
    for part, own in zip(parts, x.chunk(3, dim=-1), strict=True):
        assert torch.equal(part, own.unflatten(-1, (4, 6)).transpose(1, 2))
    assert torch.autograd.gradcheck(lambda x: heads(x, 3, 4), x)


@pytest.mark.parametrize("rows", [0, 1, 11])
def test_summed_cross_entropy(monkeypatch, rows):
    """In blocks of 4 rows."""
    monkeypatch.setitem(LOGITS_PER_BLOCK, "cpu", 4 * 7)
    generator = torch.Generator().manual_seed(0)
    states, weight = (
        torch.randn(n, 5, dtype=torch.float64, generator=generator, requires_grad=True) for n in (rows, 7)
    )
    labels = torch.randint(0, 7, (rows,), generator=generator)
    expected = torch.nn.functional.cross_entropy(states @ weight.T, labels, reduction="sum")
    loss = summed_cross_entropy(states, weight, labels, torch.float64)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    own = torch.autograd.grad(3 * loss, (states, weight))
    for gradient, plain in zip(own, torch.autograd.grad(3 * expected, (states, weight)), strict=True):
        torch.testing.assert_close(gradient, plain, rtol=0, atol=1e-12)


def test_half_precision_of_gradients_leaves_the_cross_entropy_as_it_is():
    generator = torch.Generator().manual_seed(0)
    states, weight = (torch.randn(n, 16, generator=generator, requires_grad=True) for n in (50, 30))
    labels = torch.randint(0, 30, (50,), generator=generator)
    single, half = (
        summed_cross_entropy(states, weight, labels, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.item() == single.item()
    for own, expected in zip(
        torch.autograd.grad(half, (states, weight)),
        torch.autograd.grad(single, (states, weight)),
        strict=True,
    ):
        assert own.dtype == torch.float32
        assert 0 < (own - expected).norm() < 2**-8 * expected.norm()


def test_summed_cross_entropy_of_what_is_all_but_impossible():
    states, weight = torch.tensor([[100.0]]), torch.tensor([[1.0], [-1.0]])
    assert summed_cross_entropy(states, weight, torch.tensor([1]), torch.float32).item() == 200


def test_rms_norm():
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for shape in ((2, 3, 5), (5,))
    )
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    torch.testing.assert_close(rms_norm(x, weight, 1e-6, torch.float64), expected, rtol=0, atol=1e-14)
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(inverse_rms(x, 1e-6), inverse, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(lambda *inputs: rms_norm(*inputs, 1e-6, torch.float64), (x, weight))
    single, scale = x.float().detach(), weight.float().detach()
    torch.testing.assert_close(
        rms_norm(single, scale, 1e-6, torch.float32), torch.nn.functional.rms_norm(single, (5,), scale, 1e-6)
    )
    assert rms_norm(single, scale, 1e-6, torch.bfloat16).dtype == torch.bfloat16


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(100_000)
    dropped = dropout(x, 0.1, training=True)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert (dropped == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.005)
    assert dropout(x, 0.1, training=False) is x
