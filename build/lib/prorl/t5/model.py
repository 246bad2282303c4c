"""The T5 policy, an encoder-decoder.

Its function and the names of its parameters are those of Transformers' `T5ForConditionalGeneration`; a test
holds the two equal in float64. It is written anew for what guidance needs. The encoder and the
cross-attention's keys are computed once per prompt, for all its m paths. Nothing behind the end of a path is
computed, and no logits but those asked for. Paths are decoded by faster versions of the same layers:
`prorl.t5.folded`, `prorl.t5.incremental` for batches and `prorl.t5.single` for one path alone.

Shape key: `b` prompts, `m` paths per prompt, `s` encoder tokens, `t` decoder tokens, `p` packed ones, `d`
model width, `a` heads, `v` vocabulary.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from prorl.t5.kernels import attention_weights, dropout, heads, relu, rms_norm, summed_cross_entropy
from prorl.t5.packing import Packing

RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE, NORM_EPSILON = 32, 128, 1e-6  # T5's own


@dataclass(frozen=True)
class T5Sizes:
    """Sizes of a T5: `n_layers` in the encoder and as many in the decoder."""

    vocabulary: int
    n_layers: int
    d_model: int
    d_ff: int
    d_kv: int
    n_heads: int
    dropout: float


def product_dtype(x: torch.Tensor) -> torch.dtype:
    """The precision in which matrices multiply `x`: that of the surrounding autocast, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class RMSNorm(nn.Module):
    """T5's layer norm: scaled by the root mean square, neither centred nor shifted."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """`x` normed, in `dtype`; None is the precision of the matrices that follow."""
        return rms_norm(x, self.weight, NORM_EPSILON, dtype or product_dtype(x))


class Attention(nn.Module):
    """Multi-head attention without scaling, as in T5."""

    def __init__(self, sizes: T5Sizes, has_relative_bias: bool):
        super().__init__()
        inner = sizes.n_heads * sizes.d_kv
        self.n_heads, self.dropout = sizes.n_heads, sizes.dropout
        self.q, self.k, self.v = (nn.Linear(sizes.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, sizes.d_model, bias=False)
        if has_relative_bias:
            self.relative_attention_bias = nn.Embedding(RELATIVE_BUCKETS, sizes.n_heads)

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Weighted sums of `values` [b, a, s, d_kv] for `queries` [b, a, t, d_kv], heads side by side.

        Returns [b, t, a * d_kv]. `keys` are [b, a, s, d_kv]; `bias` is added to the scores [b, a, t, s].
        """
        weights = attention_weights(queries @ keys.transpose(-1, -2), bias)
        return (dropout(weights, self.dropout, self.training) @ values).transpose(1, 2).flatten(2)

    def within(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Output [b, t, d] for `x` [b, t, d]; every token attends to all tokens of its row."""
        queries, keys, values = self._heads(_product(x, self.q, self.k, self.v))
        return self.o(self.attend(queries, keys, values, bias))

    def within_groups(self, x: torch.Tensor, packing: Packing, bias: torch.Tensor) -> torch.Tensor:
        """Output [p, d] for packed paths `x` [p, d]; every token attends to all tokens of its path.

        `bias` [a, t, t] is that of the longest path.
        """
        attended = []
        for group, (count, length) in zip(
            packing.split(_product(x, self.q, self.k, self.v)), packing.groups, strict=True
        ):
            queries, keys, values = self._heads(group.view(count, length, -1))
            attended.append(self.attend(queries, keys, values, bias[:, :length, :length]).flatten(0, 1))
        return self.o(packing.joined(attended))

    def across(self, x: torch.Tensor, packing: Packing, prompts: "Encoded") -> torch.Tensor:
        """Output [p, d] for packed paths `x` [p, d], whose tokens attend to their prompts.

        All tokens of a prompt's paths are one longer query.
        """
        rectangle = packing.to_rectangle(self.q(x)).unflatten(0, (len(prompts.states), -1))
        (queries,) = self._heads(rectangle)
        keys, values = self._heads(_product(prompts.states, self.k, self.v))
        attended = self.attend(queries, keys, values, prompts.mask)
        return self.o(packing.from_rectangle(attended.flatten(0, 1)))

    def _heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut `x` into tensors [b, a, t, d_kv]: it holds one or more of [b, t, a * d_kv] side by side."""
        return heads(x, x.shape[-1] // self.o.in_features, self.n_heads)


def _product(x: torch.Tensor, *projections: nn.Linear) -> torch.Tensor:
    """The `projections` of `x` side by side, by one product."""
    return F.linear(x, torch.cat([projection.weight for projection in projections]))


class FeedForward(nn.Module):
    """Two matrices around a ReLU."""

    def __init__(self, sizes: T5Sizes):
        super().__init__()
        self.wi = nn.Linear(sizes.d_model, sizes.d_ff, bias=False)
        self.wo = nn.Linear(sizes.d_ff, sizes.d_model, bias=False)
        self.dropout = sizes.dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wo(dropout(relu(self.wi(x)), self.dropout, self.training))


class _Sublayer(nn.Module):
    """One module, held under T5's name for it, and the norm before it."""

    SelfAttention: Attention
    EncDecAttention: Attention
    DenseReluDense: FeedForward

    def __init__(self, name: str, module: nn.Module, sizes: T5Sizes):
        super().__init__()
        setattr(self, name, module)
        self.layer_norm = RMSNorm(sizes.d_model)


class Block(nn.Module):
    """One layer: self-attention, in the decoder cross-attention, and feed-forward."""

    def __init__(self, sizes: T5Sizes, *, is_decoder: bool, has_relative_bias: bool):
        super().__init__()
        layers = [_Sublayer("SelfAttention", Attention(sizes, has_relative_bias), sizes)]
        if is_decoder:
            layers.append(_Sublayer("EncDecAttention", Attention(sizes, False), sizes))
        layers.append(_Sublayer("DenseReluDense", FeedForward(sizes), sizes))
        self.layer = nn.ModuleList(layers)

    @property
    def sublayers(self) -> list[_Sublayer]:
        """The parts of the layer in order."""
        return cast("list[_Sublayer]", list(self.layer))


class _Stack(nn.Module):
    def __init__(self, sizes: T5Sizes, *, is_decoder: bool):
        super().__init__()
        self.block = nn.ModuleList(
            Block(sizes, is_decoder=is_decoder, has_relative_bias=i == 0) for i in range(sizes.n_layers)
        )
        self.final_layer_norm = RMSNorm(sizes.d_model)
        self.is_decoder = is_decoder

    @property
    def blocks(self) -> list[Block]:
        """The layers in order."""
        return cast("list[Block]", list(self.block))

    def position_bias(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Relative bias [a, t, s] between positions `queries` [t] and `keys` [s].

        In the decoder it is -inf towards the future.
        """
        distance = keys[None, :] - queries[:, None]
        buckets = relative_bucket(distance, bidirectional=not self.is_decoder)
        first = self.blocks[0].sublayers[0].SelfAttention
        bias = first.relative_attention_bias(buckets).permute(2, 0, 1)
        return bias.masked_fill(distance > 0, -torch.inf) if self.is_decoder else bias


class T5(nn.Module):
    """T5 with tied embeddings: `encode` prompts once, `decode` many paths for each."""

    def __init__(self, sizes: T5Sizes):
        super().__init__()
        self.sizes = sizes
        self.shared = nn.Embedding(sizes.vocabulary, sizes.d_model)
        self.encoder = _Stack(sizes, is_decoder=False)
        self.decoder = _Stack(sizes, is_decoder=True)
        self._initialise()

    def _initialise(self) -> None:
        """Draw all weights as T5 does; the standard deviation depends on the matrix."""
        d_model, d_ff, d_kv = self.sizes.d_model, self.sizes.d_ff, self.sizes.d_kv
        deviations = {
            "shared": 1.0,
            "relative_attention_bias": d_model**-0.5,
            "q": (d_model * d_kv) ** -0.5,
            "k": d_model**-0.5,
            "v": d_model**-0.5,
            "o": (self.sizes.n_heads * d_kv) ** -0.5,
            "wi": d_model**-0.5,
            "wo": d_ff**-0.5,
        }
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=deviations[name.rsplit(".", 1)[-1]])

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return dropout(x, self.sizes.dropout, self.training)

    def encode(self, tokens: torch.Tensor) -> "Encoded":
        """What the decoder attends to for `tokens` [b, s]; padding (0) is not attended to."""
        x = self._drop(self.shared(tokens))
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        bias = self.encoder.position_bias(positions, positions)
        padding = tokens == 0
        mask = torch.zeros(padding.shape, dtype=bias.dtype, device=tokens.device).masked_fill(
            padding, -torch.inf
        )[:, None, None, :]
        bias = bias + mask
        for block in self.encoder.blocks:
            attention, feed_forward = block.sublayers
            x = x + self._drop(attention.SelfAttention.within(attention.layer_norm(x), bias))
            x = x + self._drop(feed_forward.DenseReluDense(feed_forward.layer_norm(x)))
        return Encoded(self._drop(self.encoder.final_layer_norm(x)), mask)

    def decode(
        self, tokens: torch.Tensor, prompts: "Encoded", n_read: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Decoder states [b, m, t, d] for `tokens` [b, m, t].

        The first `n_read` [b, m] tokens of a path are read, 1 or more; None is all. States of tokens that are
        not read have no meaning.
        """
        b, m, t = tokens.shape
        packing = Packing.of(torch.full((b, m), t, device=tokens.device) if n_read is None else n_read, t)
        x = self._drop(self.shared(tokens.flatten()[packing.place]))
        positions = torch.arange(t, device=tokens.device)
        bias = self.decoder.position_bias(positions, positions)
        for block in self.decoder.blocks:
            self_attention, cross_attention, feed_forward = block.sublayers
            x = x + self._drop(
                self_attention.SelfAttention.within_groups(self_attention.layer_norm(x), packing, bias)
            )
            x = x + self._drop(
                cross_attention.EncDecAttention.across(cross_attention.layer_norm(x), packing, prompts)
            )
            x = x + self._drop(feed_forward.DenseReluDense(feed_forward.layer_norm(x)))
        return packing.to_paths(self._drop(self.decoder.final_layer_norm(x, x.dtype))).view(b, m, t, -1)

    def logits(self, states: torch.Tensor, ids: slice | torch.Tensor) -> torch.Tensor:
        """Logits of the vocabulary's `ids` at decoder `states` [.., d], never below float32."""
        with torch.autocast(states.device.type, enabled=False):
            return self._scaled(states) @ self.shared.weight[ids].T

    def summed_cross_entropy(self, states: torch.Tensor, labels: torch.Tensor, ids: slice) -> torch.Tensor:
        """Sum of the cross-entropies of the logits of `ids` at decoder `states` [r, d] against `labels` [r].

        Labels count within `ids`. Only the gradients are in the precision of the surrounding autocast.
        """
        dtype = product_dtype(self.shared.weight)
        with torch.autocast(states.device.type, enabled=False):
            return summed_cross_entropy(self._scaled(states), self.shared.weight[ids], labels, dtype)

    def _scaled(self, states: torch.Tensor) -> torch.Tensor:
        return states.to(self.shared.weight.dtype) * self.sizes.d_model**-0.5

    def forward(
        self, encoder_tokens: torch.Tensor, decoder_tokens: torch.Tensor, n_read: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`decode` of `decoder_tokens` [b, m, t] for the prompts `encoder_tokens` [b, s]."""
        return self.decode(decoder_tokens, self.encode(encoder_tokens), n_read)


@dataclass(frozen=True)
class Encoded:
    """The encoder's states [b, s, d] of prompts, and the mask [b, 1, 1, s] of their padding."""

    states: torch.Tensor
    mask: torch.Tensor

    def select(self, rows: torch.Tensor) -> "Encoded":
        """The encoded prompts numbered `rows`."""
        return Encoded(self.states[rows], self.mask[rows])


def relative_bucket(distance: torch.Tensor, *, bidirectional: bool) -> torch.Tensor:
    """T5's bucket of each relative position (Raffel et al. 2020): exact when near, logarithmic when far."""
    n_buckets = RELATIVE_BUCKETS
    offset = torch.zeros_like(distance)
    if bidirectional:
        n_buckets //= 2
        offset = (distance > 0) * n_buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = n_buckets // 2
    far = exact + (distance.clamp(min=1).float() / exact).log() / math.log(RELATIVE_MAX_DISTANCE / exact) * (
        n_buckets - exact
    )
    return offset + torch.where(distance < exact, distance, far.long().clamp(max=n_buckets - 1))
