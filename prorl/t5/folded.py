"""The layers of a T5 policy where no gradient is asked for, laid out for speed, and the encoder made of them.

Keys and values are never made. A head's score q . k is (W_k^T W_q x) . x', so its two matrices are multiplied
once into one that leads from a token to what meets the normed tokens themselves, and likewise W_o W_v. All
heads then read one vector per token, where keys and values would be two vectors per head, and nothing is
copied into heads. The scales of the norms are part of these matrices, which are cast once to the precision of
the surrounding autocast. As many products as before where a head is half as wide as the model; more in wider
models. There is no dropout. Tests hold it equal to `T5`.

Shape key: `b` prompts or rows, `s` tokens read, `t` tokens that ask, `d` model width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.t5.kernels import attention_weights, inverse_rms, relu
from prorl.t5.model import NORM_EPSILON, T5, Attention, Encoded, FeedForward, RMSNorm, product_dtype

ENCODED_AT_ONCE = {"cpu": 3000, "cuda": 2**20}  # tokens: as many as a CPU's cache holds


@dataclass(frozen=True)
class FoldedAttention:
    """`into` [a * d, d] leads from a normed token to what meets the tokens that are read, head by head; `out`
    [d, a * d] back from what it met.
    """

    into: torch.Tensor
    out: torch.Tensor

    @classmethod
    def of(
        cls, attention: Attention, scale: torch.Tensor, read_scale: torch.Tensor, dtype: torch.dtype
    ) -> "FoldedAttention":
        """`scale` [d] is that of the norm before the tokens that ask, `read_scale` [d] of those that are
        read.
        """
        queries, keys, values = (
            matrix.weight.unflatten(0, (attention.n_heads, -1))
            for matrix in (attention.q, attention.k, attention.v)
        )
        outputs = attention.o.weight.unflatten(1, (attention.n_heads, -1)).transpose(0, 1)
        into, out = (keys * read_scale).mT @ (queries * scale), outputs @ (values * read_scale)
        return cls(into.flatten(0, 1).to(dtype), out.transpose(0, 1).flatten(1).to(dtype))


@dataclass(frozen=True)
class FoldedFeedForward:
    """Two matrices around a ReLU."""

    wi: torch.Tensor
    wo: torch.Tensor

    @classmethod
    def of(cls, feed_forward: FeedForward, scale: torch.Tensor, dtype: torch.dtype) -> "FoldedFeedForward":
        """`scale` [d] is that of the norm before it."""
        return cls((feed_forward.wi.weight * scale).to(dtype), feed_forward.wo.weight.to(dtype))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[.., d] of normed `x` [.., d]."""
        return F.linear(relu(F.linear(x, self.wi)), self.wo)


def normed(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` over its root mean square, in `dtype`; the norm's scale is part of the matrix that follows."""
    return torch.mul(x, inverse_rms(x, NORM_EPSILON), out=torch.empty_like(x, dtype=dtype))


def attend(queries: torch.Tensor, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """What `queries` [b, t * a, d] meet among `tokens` [b, s, d], [b, t * a, d]; `bias` is added to the
    scores [b, t * a, s].
    """
    return attention_weights(queries @ tokens.mT, bias) @ tokens


@torch.no_grad()
def encoded(policy: T5, tokens: torch.Tensor) -> Encoded:
    """What the decoder attends to for `tokens` [b, s], in the precision of the surrounding autocast; padding
    (0) is not attended to.
    """
    dtype, encoder = product_dtype(policy.shared.weight), policy.encoder
    with torch.autocast(tokens.device.type, enabled=False):
        layers = [_self_attention_and_feed_forward(block.layer, dtype) for block in encoder.block]
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        bias = encoder.position_bias(positions, positions).transpose(0, 1).flatten(0, 1)
        mask = torch.zeros(tokens.shape, dtype=bias.dtype, device=tokens.device).masked_fill(
            tokens == 0, -torch.inf
        )[:, None]
        at_once = max(1, ENCODED_AT_ONCE[tokens.device.type] // tokens.shape[1])
        states = [
            _states(policy.shared(own), layers, bias + own_mask, encoder.final_layer_norm, dtype)
            for own, own_mask in zip(tokens.split(at_once), mask.split(at_once), strict=True)
        ]
    return Encoded(torch.cat(states), mask[:, None])


def _self_attention_and_feed_forward(
    layer: torch.nn.ModuleList, dtype: torch.dtype
) -> tuple[FoldedAttention, FoldedFeedForward]:
    attention, feed_forward = layer
    scale = attention.layer_norm.weight
    return (
        FoldedAttention.of(attention.SelfAttention, scale, scale, dtype),
        FoldedFeedForward.of(feed_forward.DenseReluDense, feed_forward.layer_norm.weight, dtype),
    )


def _states(
    x: torch.Tensor,
    layers: list[tuple[FoldedAttention, FoldedFeedForward]],
    bias: torch.Tensor,
    final_norm: RMSNorm,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The encoder's states [b, s, d] of embedded tokens `x` [b, s, d], with the `bias` [b, s * a, s] of every
    layer.
    """
    b, s, d = x.shape
    for attention, feed_forward in layers:
        read = normed(x, dtype)
        met = attend(F.linear(read, attention.into).view(b, -1, d), read, bias).view(b, s, -1)
        x = x + F.linear(met, attention.out)
        x += feed_forward(normed(x, dtype))
    return final_norm(x, dtype)
