"""Parts of a T5 layer whose plain form in PyTorch is slow on a CPU, with gradients of their own."""

import math

import torch
import torch.nn.functional as F

VECTOR = 16  # float32 numbers that a CPU handles at once


def exponential(x: torch.Tensor) -> torch.Tensor:
    """e^x by way of 2^x: PyTorch's `exp` on a CPU takes 20 to 70 times as long where the result is 0 or nearly so, as for -inf."""
    return (x * math.log2(math.e)).exp2_()


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype) -> torch.Tensor:
    """`x` [.., d] over its root mean square, times `weight` [d], in `dtype`."""
    if x.device.type != "cpu":
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps=epsilon).to(dtype)
    return _RMSNorm.apply(x, weight, epsilon, dtype)


def inverse_rms(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    """1 / root mean square [.., 1] of `x` [.., d], `epsilon` being added to the mean."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


class _RMSNorm(torch.autograd.Function):
    """With 1/rms(x) = s: the gradient of x is s (g w - s^2 x mean(g w x)), that of w the sum of s g x."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype) -> torch.Tensor:
        scale = inverse_rms(x, epsilon)
        ctx.save_for_backward(x, weight, scale)
        return torch.mul(x * scale, weight, out=torch.empty_like(x, dtype=dtype))

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        x, weight, scale = ctx.saved_tensors
        product = (gradient * x).flatten(0, -2)
        of_weight = scale.flatten() @ product
        share = (product @ weight).view(scale.shape).mul_(scale.square()).div_(-x.shape[-1])
        return (gradient * weight).addcmul_(x, share).mul_(scale), of_weight, None, None


def attention_weights(scores: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension of `scores` + `bias`, computed in at least float32, in the precision of `scores`."""
    return _AttentionWeights.apply(scores, bias)


class _AttentionWeights(torch.autograd.Function):
    """With weights a: the gradient of the scores is a (g - sum(g a)). PyTorch's softmax on a CPU is slow for rows that fill no vector."""

    @staticmethod
    def forward(ctx, scores: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        weights = scores + bias
        if weights.device.type == "cpu" and weights.shape[-1] < VECTOR:
            weights = exponential(weights - weights.amax(-1, keepdim=True))
            weights = weights.div_(weights.sum(-1, keepdim=True))
        else:
            weights = weights.softmax(-1)
        weights = weights.to(scores.dtype)
        ctx.save_for_backward(weights)
        ctx.bias_shape, ctx.bias_dtype = bias.shape, bias.dtype
        return weights

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        (weights,) = ctx.saved_tensors
        product = gradient.to(ctx.bias_dtype) * weights
        of_scores = torch.addcmul(product, weights.to(product.dtype), product.sum(-1, keepdim=True), value=-1)
        of_bias = of_scores.sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[1] else None
        return of_scores.to(weights.dtype), of_bias


def dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Dropout. On a CPU one random byte decides on each element, the rate being rounded to a 256th.

    PyTorch's own draws a number per element from a sequential generator there, which takes a third of a training step.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    threshold = round(rate * 256)
    random = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    kept = (random[: x.numel()] >= threshold).view(x.shape)
    return x * (kept.to(x.dtype) * (256 / (256 - threshold)))
