"""The decoder of a T5 policy one token at a time, for all paths of a batch: the function of `T5Policy.decode`, laid out for speed.

Weights are cast once to the precision of the surrounding autocast, queries, keys and values of a layer are one product, and the scales
of its norms are part of the matrices behind them; keys and values of earlier tokens lie in buffers made once; all paths of a prompt
attend to its encoding as one longer query. Tests hold it equal to `T5Policy.decode`.

Shape key: `b` prompts, `r` rows (paths), `w` rows of the prompt that has most, `t` decoder tokens so far, `d` model width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.policy.model import NORM_EPSILON, CrossMemory, T5Policy

COMPACTION = 0.75  # encodings of finished prompts are dropped when at most this share of prompts is left


@dataclass(frozen=True)
class _Layer:
    """Matrices of one decoder layer, and the keys and values [r, max t, a, d_kv] of the tokens so far."""

    qkv: torch.Tensor
    self_out: torch.Tensor
    cross_q: torch.Tensor
    cross_out: torch.Tensor
    wi: torch.Tensor
    wo: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class IncrementalDecoder:
    """Decodes rows, at first `m` for each of the prompts of `memory`, prompt by prompt; at most `max_tokens` each.

    For inference alone: it has no dropout.
    """

    @torch.no_grad()
    def __init__(self, policy: T5Policy, memory: tuple[CrossMemory, ...], m: int, max_tokens: int):
        self.policy, self.memory, self.length = policy, memory, 0
        weight = policy.shared.weight
        device = weight.device.type
        self.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        self._heads = (policy.sizes.n_heads, policy.sizes.d_kv)
        self._prompt = torch.arange(len(memory[0].keys), device=weight.device).repeat_interleave(m)
        self._width, self._cell = m, None  # rows attend through the cells of a rectangle [b, w]; None where they fill it in order
        shape = (len(self._prompt), max_tokens, *self._heads)
        self._layers = [self._layer(block, weight.new_empty(shape, dtype=self.dtype)) for block in policy.decoder.block]
        positions = torch.arange(max_tokens, device=weight.device)
        self._bias = policy.decoder.position_bias(positions, positions).to(self.dtype)

    def _layer(self, block, buffer: torch.Tensor) -> _Layer:
        self_attention, cross_attention, feed_forward = block.layer
        own, crossed, dense = self_attention.SelfAttention, cross_attention.EncDecAttention, feed_forward.DenseReluDense
        matrices = (
            torch.cat([own.q.weight, own.k.weight, own.v.weight]) * self_attention.layer_norm.weight,
            own.o.weight,
            crossed.q.weight * cross_attention.layer_norm.weight,
            crossed.o.weight,
            dense.wi.weight * feed_forward.layer_norm.weight,
            dense.wo.weight,
        )
        return _Layer(*(matrix.to(self.dtype) for matrix in matrices), buffer, torch.empty_like(buffer))

    @torch.no_grad()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decoder states [r, d] after `tokens` [r], which follow all those given before."""
        with torch.autocast(tokens.device.type, enabled=False):
            x = self.policy.shared(tokens)
            self.length += 1
            for layer, memory in zip(self._layers, self.memory, strict=True):
                x += F.linear(self._self_attention(self._normed(x), layer), layer.self_out)
                x += F.linear(self._cross_attention(self._normed(x), layer, memory), layer.cross_out)
                x += F.linear(F.linear(self._normed(x), layer.wi).relu_(), layer.wo)
            return self.policy.decoder.final_layer_norm(x)

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        """`x` over its root mean square; the norm's scale is part of the matrix that follows."""
        return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON)).to(self.dtype)

    def _self_attention(self, normed: torch.Tensor, layer: _Layer) -> torch.Tensor:
        query, key, value = F.linear(normed, layer.qkv).view(len(normed), 3, *self._heads).unbind(1)
        keys, values = layer.keys[: len(normed), : self.length], layer.values[: len(normed), : self.length]
        keys[:, -1], values[:, -1] = key, value
        bias = self._bias[None, :, self.length - 1, None, : self.length]
        attended = F.scaled_dot_product_attention(
            query[:, :, None], keys.transpose(1, 2), values.transpose(1, 2), attn_mask=bias, scale=1.0
        )
        return attended.reshape(len(normed), -1)

    def _cross_attention(self, normed: torch.Tensor, layer: _Layer, memory: CrossMemory) -> torch.Tensor:
        query, b = F.linear(normed, layer.cross_q), len(memory.keys)
        if self._cell is not None:
            query = query.new_zeros(b * self._width, query.shape[1]).index_copy_(0, self._cell, query)
        query = query.view(b, self._width, *self._heads).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, memory.keys, memory.values, attn_mask=memory.mask.to(self.dtype), scale=1.0)
        attended = attended.transpose(1, 2).reshape(b * self._width, -1)
        return attended if self._cell is None else attended[self._cell]

    def keep(self, running: torch.Tensor) -> torch.Tensor:
        """Go on with the `running` [r] rows alone, at least one. Gives the former numbers [r'] of the rows in their new order.

        Rows at the end move into the places of finished ones, so that few keys and values are copied.
        """
        n = int(running.sum())
        gaps, movers = (~running[:n]).nonzero()[:, 0], n + running[n:].nonzero()[:, 0]
        rows = torch.arange(n, device=running.device).index_copy_(0, gaps, movers)
        self._copy(movers, gaps)
        self._arrange(self._prompt[rows])
        return rows

    def select(self, rows: torch.Tensor) -> None:
        """Go on with the rows numbered `rows` [r'], in that order; a row may go on several times."""
        self._copy(rows, slice(0, len(rows)))
        self._arrange(self._prompt[rows])

    def _copy(self, source: torch.Tensor, destination: torch.Tensor | slice) -> None:
        for layer in self._layers:
            for buffer in (layer.keys, layer.values):
                buffer[destination, : self.length] = buffer[source, : self.length]

    def _arrange(self, prompt: torch.Tensor) -> None:
        """Give every row a cell of the rectangle [b, w]; `prompt` [r] are the prompts of the rows."""
        counts = torch.bincount(prompt, minlength=len(self.memory[0].keys))
        left = counts.nonzero()[:, 0]
        if len(left) <= COMPACTION * len(counts):
            self.memory = tuple(layer.select(left) for layer in self.memory)
            prompt, counts = torch.searchsorted(left, prompt), counts[left]
        order = prompt.argsort(stable=True)
        place = torch.arange(len(prompt), device=prompt.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        self._prompt, self._width = prompt, int(counts.max())
        self._cell = torch.empty_like(prompt).index_copy_(0, order, prompt[order] * self._width + place)
