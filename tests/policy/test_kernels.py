"""Each part against PyTorch's plain form, its gradient against finite differences."""

import pytest
import torch

from prorl.policy.kernels import VECTOR, attention_weights, dropout, exponential, rms_norm


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
    torch.testing.assert_close(attention_weights(scores, bias), (scores + bias).softmax(-1), rtol=0, atol=1e-14)
    weight = torch.randn(scores.shape, dtype=torch.float64, generator=generator)
    own = torch.autograd.grad((attention_weights(scores, bias) * weight).sum(), (scores, bias))
    plain = torch.autograd.grad(((scores + bias).softmax(-1) * weight).sum(), (scores, bias))
    for gradient, expected in zip(own, plain, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13)


def test_attention_weights_of_half_precision_are_those_of_single_rounded():
    scores, bias = torch.randn(5, 20).bfloat16(), torch.randn(5, 20)
    weights = attention_weights(scores, bias)
    assert weights.dtype == torch.bfloat16
    assert torch.equal(weights, (scores.float() + bias).softmax(-1).bfloat16())


def test_rms_norm():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in ((2, 3, 5), (5,)))
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    torch.testing.assert_close(rms_norm(x, weight, 1e-6, torch.float64), expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda *inputs: rms_norm(*inputs, 1e-6, torch.float64), (x, weight))
    assert rms_norm(x.float(), weight.float(), 1e-6, torch.bfloat16).dtype == torch.bfloat16


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(100_000)
    dropped = dropout(x, 0.1, training=True)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert (dropped == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.005)
    assert dropout(x, 0.1, training=False) is x
