"""T5's layers for inference, with their matrices folded, and the encoder made of them.

No keys and values are computed. A head scores token x against token x' as (W_q x) . (W_k x'), which equals
(W_k^T W_q x) . x'. So W_k^T W_q is multiplied once into a single matrix that maps x to a query of width d,
which is compared with the normed token x' itself. W_o W_v is folded likewise. All heads then read one
vector per token instead of two vectors per head, and nothing is copied into heads.

The scales of the norms are part of these matrices, which are cast once to the precision of the surrounding
autocast. The number of products stays the same where a head is half as wide as the model, and grows where
heads are narrower. There is no dropout. Plainly: `T5.encode` in evaluation mode; tests hold the two equal.

Folding takes as long as a few decoding steps of one path: `prorl.t5.folds` keeps what has been folded.

Shape key: `b` prompts or rows, `s` tokens attended to, `t` tokens that attend, `d` model width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.t5.kernels import attention_weights, for_device, inverse_rms, relu
from prorl.t5.model import NORM_EPSILON, T5, Attention, Block, Encoded, FeedForward, RMSNorm, product_dtype

ENCODED_AT_ONCE = {"cpu": 3000, "cuda": 2**20}  # tokens: as many as a CPU's cache holds


@dataclass(frozen=True)
class FoldedAttention:
    """The two matrices of an attention layer.

    `into` [a * d, d] maps a normed token to one query of width d per head. `out` [d, a * d] maps the tokens
    that the heads attended to, one weighted sum per head, to the layer's output.
    """

    into: torch.Tensor
    out: torch.Tensor

    @classmethod
    def of(
        cls, attention: Attention, scale: torch.Tensor, read_scale: torch.Tensor, dtype: torch.dtype
    ) -> "FoldedAttention":
        """Fold `attention` with two scales of norms.

        `scale` [d] belongs to the norm of the tokens that attend, `read_scale` [d] to that of the tokens
        attended to.
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
    """The two matrices of a feed-forward layer, around a ReLU."""

    wi: torch.Tensor
    wo: torch.Tensor

    @classmethod
    def of(cls, feed_forward: FeedForward, scale: torch.Tensor, dtype: torch.dtype) -> "FoldedFeedForward":
        """Fold `feed_forward` with the scale [d] of the norm before it."""
        return cls((feed_forward.wi.weight * scale).to(dtype), feed_forward.wo.weight.to(dtype))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output [.., d] for normed `x` [.., d]."""
        return F.linear(relu(F.linear(x, self.wi)), self.wo)


def normed(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` over its root mean square, in `dtype`; the matrix that follows holds the norm's scale."""
    return torch.mul(x, inverse_rms(x, NORM_EPSILON), out=torch.empty_like(x, dtype=dtype))


def attend(queries: torch.Tensor, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Weighted sums of `tokens` [b, s, d] for `queries` [b, t * a, d], [b, t * a, d].

    `bias` is added to the scores [b, t * a, s]. Plainly: `(queries @ tokens.mT + bias).softmax(-1) @ tokens`.
    """
    return attention_weights(queries @ tokens.mT, bias) @ tokens


@dataclass(frozen=True)
class FoldedT5:
    """All layers of `policy` folded, in `dtype`."""

    policy: T5
    dtype: torch.dtype
    encoder: list[tuple[FoldedAttention, FoldedFeedForward]]
    decoder: list[tuple[FoldedAttention, FoldedAttention, FoldedFeedForward]]

    @classmethod
    @torch.no_grad()
    def of(cls, policy: T5, dtype: torch.dtype | None = None) -> "FoldedT5":
        """Fold `policy`; None is the precision of the surrounding autocast."""
        weight = policy.shared.weight
        dtype = dtype or product_dtype(weight)
        with torch.autocast(weight.device.type, enabled=False):
            encoder = [_encoder_layer(block, dtype) for block in policy.encoder.blocks]
            return cls(policy, dtype, encoder, [_decoder_layer(b, dtype) for b in policy.decoder.blocks])


@torch.no_grad()
def encoded(folded: FoldedT5, tokens: torch.Tensor) -> Encoded:
    """What the decoder attends to for `tokens` [b, s], in the precision of the folded layers.

    Padding (0) is not attended to.
    """
    policy, encoder = folded.policy, folded.policy.encoder
    with torch.autocast(tokens.device.type, enabled=False):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        bias = encoder.position_bias(positions, positions).transpose(0, 1).flatten(0, 1)
        mask = torch.zeros(tokens.shape, dtype=bias.dtype, device=tokens.device).masked_fill(
            tokens == 0, -torch.inf
        )[:, None]
        at_once = max(1, for_device(ENCODED_AT_ONCE, tokens.device) // tokens.shape[1])
        states = [
            _states(policy.shared(own), folded, bias + own_mask, encoder.final_layer_norm)
            for own, own_mask in zip(tokens.split(at_once), mask.split(at_once), strict=True)
        ]
    return Encoded(torch.cat(states), mask[:, None])


def _encoder_layer(block: Block, dtype: torch.dtype) -> tuple[FoldedAttention, FoldedFeedForward]:
    attention, feed_forward = block.sublayers
    scale = attention.layer_norm.weight
    return (
        FoldedAttention.of(attention.SelfAttention, scale, scale, dtype),
        FoldedFeedForward.of(feed_forward.DenseReluDense, feed_forward.layer_norm.weight, dtype),
    )


def _decoder_layer(
    block: Block, dtype: torch.dtype
) -> tuple[FoldedAttention, FoldedAttention, FoldedFeedForward]:
    """Self-attention, cross-attention and feed-forward; the encoder's states are normed with their scale."""
    attention, crossing, feed_forward = block.sublayers
    scale, crossing_scale = attention.layer_norm.weight, crossing.layer_norm.weight
    return (
        FoldedAttention.of(attention.SelfAttention, scale, scale, dtype),
        FoldedAttention.of(crossing.EncDecAttention, crossing_scale, torch.ones_like(crossing_scale), dtype),
        FoldedFeedForward.of(feed_forward.DenseReluDense, feed_forward.layer_norm.weight, dtype),
    )


def _states(x: torch.Tensor, folded: FoldedT5, bias: torch.Tensor, final_norm: RMSNorm) -> torch.Tensor:
    """The encoder's states [b, s, d] for embedded tokens `x` [b, s, d].

    Every layer adds `bias` [b, s * a, s] to its scores.
    """
    (b, s, d), dtype = x.shape, folded.dtype
    for attention, feed_forward in folded.encoder:
        read = normed(x, dtype)
        met = attend(F.linear(read, attention.into).view(b, -1, d), read, bias).view(b, s, -1)
        x = x + F.linear(met, attention.out)
        x += feed_forward(normed(x, dtype))
    return final_norm(x, dtype)
