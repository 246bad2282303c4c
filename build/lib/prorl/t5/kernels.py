"""Parts of a T5 layer whose plain form in PyTorch is slow on a CPU, with gradients of their own.

Each states its plain form, and a test holds the two equal.
"""

import math

import torch
import torch.nn.functional as F

VECTOR_BYTES = 64  # that a CPU handles at once
LOGITS_PER_BLOCK = {"cpu": 2**19, "cuda": 2**26}  # a CPU holds them in its cache


def for_device(values: dict[str, int], device: torch.device) -> int:
    """The entry of `values` for the type of `device`.

    An accelerator without an entry, such as Apple's `mps`, takes that of `cuda`.
    """
    return values.get(device.type, values["cuda"])


def exponential(x: torch.Tensor) -> torch.Tensor:
    """e^x by way of 2^x. Plainly: `x.exp()`.

    PyTorch's `exp` on a CPU takes 20 to 70 times as long where the result is 0 or nearly so, as for -inf.
    """
    return (x * math.log2(math.e)).exp2_()


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype) -> torch.Tensor:
    """`x` [.., d] over its root mean square, times `weight` [d], in `dtype`.

    Plainly: `(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight).to(dtype)`.
    """
    if x.device.type != "cpu":
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps=epsilon).to(dtype)
    return _RMSNorm.apply(x, weight, epsilon, dtype)


def inverse_rms(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    """One over the root mean square of `x` [.., d], [.., 1]; `epsilon` is added to the mean square.

    Plainly: `torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)`.
    """
    return (
        torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    )


class _RMSNorm(torch.autograd.Function):
    """Its gradients, with s = 1 / rms(x) and the result's gradient g.

    Of x: s (g w - s^2 x mean(g w x)). Of w: the sum of s g x.
    """

    @staticmethod
    def forward(
        ctx, x: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype
    ) -> torch.Tensor:
        scale = inverse_rms(x, epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor):
        (gradient,) = gradients
        x, weight, scale = ctx.saved_tensors
        gradient = gradient.to(x.dtype, copy=True)
        product = (gradient * x).flatten(0, -2)
        of_weight = scale.flatten() @ product
        share = (product @ weight).view(scale.shape).mul_(scale.square()).div_(-x.shape[-1])
        return gradient.mul_(weight).addcmul_(x, share).mul_(scale), of_weight, None, None


def relu(x: torch.Tensor) -> torch.Tensor:
    """max(`x`, 0), written over `x`; for a product that nothing else needs.

    Plainly: `torch.relu(x)`.
    """
    if x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return F.relu(x, inplace=True)
    return _BFloat16ReLU.apply(x)


class _BFloat16ReLU(torch.autograd.Function):
    """ReLU of bfloat16 as a maximum of integers.

    A bfloat16 is negative where its bits, read as an integer, are. PyTorch's own ReLU converts to float32 and
    takes twice as long. A NaN whose sign is set becomes 0.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        x.view(torch.int16).clamp_min_(0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor) -> torch.Tensor:
        (gradient,), (x,) = gradients, ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, x, 0)


def heads(x: torch.Tensor, n_parts: int, n_heads: int) -> tuple[torch.Tensor, ...]:
    """Cut `x` [b, t, n_parts * a * k] into `n_parts` contiguous tensors [b, a, t, k], a = `n_heads`.

    Plainly: `[part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in x.chunk(n_parts, dim=-1)]`.
    """
    return _Heads.apply(x, n_parts, n_heads)


class _Heads(torch.autograd.Function):
    """Heads by one copy forward and one copy back."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, n_parts: int, n_heads: int) -> tuple[torch.Tensor, ...]:
        return x.unflatten(-1, (n_parts, n_heads, -1)).permute(2, 0, 3, 1, 4).contiguous().unbind(0)

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor):
        return torch.cat([gradient.transpose(1, 2) for gradient in gradients], dim=2).flatten(2), None, None


def attention_weights(scores: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attention weights in the precision of `scores`, computed in at least float32.

    Plainly: `(scores + bias).softmax(-1).to(scores.dtype)`.
    """
    return _AttentionWeights.apply(scores, bias)


class _AttentionWeights(torch.autograd.Function):
    """Softmax, and the gradient of its scores: with weights a and their gradient g, a (g - sum(g a)).

    PyTorch's softmax on a CPU is slow for rows that fill no vector.
    """

    @staticmethod
    def forward(ctx, scores: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        weights = scores.to(bias.dtype, copy=True).add_(bias)
        if _fills_a_vector(weights):
            weights = weights.softmax(-1)
        else:
            weights = exponential(weights - weights.amax(-1, keepdim=True))
            weights = weights.div_(weights.sum(-1, keepdim=True))
        weights = weights.to(scores.dtype)
        ctx.save_for_backward(weights)
        ctx.bias_shape, ctx.bias_dtype = bias.shape, bias.dtype
        return weights

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor):
        (gradient,), (weights,) = gradients, ctx.saved_tensors
        dtype = weights.dtype
        if not _fills_a_vector(weights):
            gradient, weights = gradient.to(ctx.bias_dtype), weights.to(ctx.bias_dtype)
        if _fills_a_vector(weights):  # inside it is computed in at least float32
            of_scores = torch.ops.aten._softmax_backward_data(gradient, weights, -1, weights.dtype)
        else:
            product = gradient * weights
            of_scores = product.addcmul_(weights, product.sum(-1, keepdim=True), value=-1)
        of_bias = (
            of_scores.to(ctx.bias_dtype).sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[1] else None
        )
        return of_scores.to(dtype), of_bias


def _fills_a_vector(x: torch.Tensor) -> bool:
    """Whether a row of `x` fills a vector of the CPU; on other devices, always."""
    return x.device.type != "cpu" or x.shape[-1] * x.element_size() >= VECTOR_BYTES


def summed_cross_entropy(
    states: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Sum of the cross-entropies of the logits of `states` [r, d] under `weight` [v, d] against `labels` [r].

    Plainly: `F.cross_entropy(states @ weight.T, labels, reduction="sum")`. Here loss and gradients are
    computed block by block, so that the logits [r, v] never exist all at once. The gradients' products are
    in `dtype`.
    """
    return _SummedCrossEntropy.apply(states, weight, labels, dtype)


class _SummedCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass: the gradient of the logits is their softmax, less 1 at the label."""

    @staticmethod
    def forward(
        ctx, states: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        total = states.new_zeros(())
        with_gradients = any(ctx.needs_input_grad)
        of_states, of_weight, multiplied = (
            torch.empty_like(states),
            torch.zeros_like(weight),
            weight.to(dtype),
        )
        rows = max(1, for_device(LOGITS_PER_BLOCK, states.device) // len(weight))
        for own, label, gradient in zip(
            states.split(rows), labels[:, None].split(rows), of_states.split(rows), strict=True
        ):
            logits = own @ weight.T
            logits.sub_(logits.amax(-1, keepdim=True))
            at_label = logits.gather(-1, label)
            exponentials = logits.mul_(math.log2(math.e)).exp2_()
            normaliser = exponentials.sum(-1, keepdim=True)
            total += (normaliser.log() - at_label).sum()
            if with_gradients:
                of_logits = (
                    exponentials.div_(normaliser)
                    .scatter_add_(-1, label, torch.full_like(at_label, -1))
                    .to(dtype)
                )
                gradient.copy_(of_logits @ multiplied)
                of_weight += of_logits.T @ own.to(dtype)
        ctx.save_for_backward(of_states, of_weight)
        return total

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor):
        (gradient,) = gradients
        of_states, of_weight = ctx.saved_tensors
        return of_states * gradient, of_weight * gradient, None, None


def dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Dropout. Plainly: `F.dropout(x, rate, training)`, from other random draws.

    On a CPU one random byte decides on each element, which rounds the rate to a 256th. PyTorch's own draws
    one number per element in sequence, which takes a third of a training step.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    threshold = round(rate * 256)
    random = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    kept = (random[: x.numel()] >= threshold).view(x.shape)
    return x * (kept.to(x.dtype) * (256 / (256 - threshold)))
