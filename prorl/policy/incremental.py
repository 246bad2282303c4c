"""The decoder of a T5 policy one token at a time, for all paths of a batch: the function of `T5Policy.decode`, laid out for speed.

Weights are cast once to the precision of the surrounding autocast, queries, keys and values of a layer are one product, and the scales
of its norms are part of the matrices behind them; keys and values of earlier tokens lie in buffers made once; all paths of a prompt
attend to its encoding as one longer query. Tests hold it equal to `T5Policy.decode`.

Shape key: `b` prompts, `m` paths per prompt, `s` encoder tokens, `t` decoder tokens so far, `d` model width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.policy.model import NORM_EPSILON, CrossMemory, T5Policy


@dataclass(frozen=True)
class _Layer:
    """Matrices of one decoder layer, and the keys and values [b * m, max t, a, d_kv] of the tokens so far."""

    qkv: torch.Tensor
    self_out: torch.Tensor
    cross_q: torch.Tensor
    cross_out: torch.Tensor
    wi: torch.Tensor
    wo: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class IncrementalDecoder:
    """Decodes `m` paths for each of the prompts of `memory`, at most `max_tokens` each. For inference alone: it has no dropout."""

    @torch.no_grad()
    def __init__(self, policy: T5Policy, memory: tuple[CrossMemory, ...], m: int, max_tokens: int):
        self.policy, self.memory = policy, memory
        self.n_rows, self.length = len(memory[0].keys) * m, 0
        weight = policy.shared.weight
        device = weight.device.type
        self.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        heads = (policy.sizes.n_heads, policy.sizes.d_kv)
        self._layers = [
            self._layer(block, weight.new_empty((self.n_rows, max_tokens, *heads), dtype=self.dtype)) for block in policy.decoder.block
        ]
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
        """Decoder states [b, m, d] after `tokens` [b, m], which follow all those given before."""
        with torch.autocast(tokens.device.type, enabled=False):
            return self._step(tokens)

    def _step(self, tokens: torch.Tensor) -> torch.Tensor:
        b, m = tokens.shape
        t, heads = self.length + 1, (self.policy.sizes.n_heads, self.policy.sizes.d_kv)
        x = self.policy.shared(tokens.flatten())
        bias = self._bias[None, :, self.length, None, :t]
        for layer, memory in zip(self._layers, self.memory, strict=True):
            query, key, value = F.linear(self._normed(x), layer.qkv).view(b * m, 3, *heads).unbind(1)
            keys, values = layer.keys[: self.n_rows, :t], layer.values[: self.n_rows, :t]
            keys[:, -1], values[:, -1] = key, value
            attended = F.scaled_dot_product_attention(
                query[:, :, None], keys.transpose(1, 2), values.transpose(1, 2), attn_mask=bias, scale=1.0
            )
            x = x + F.linear(attended.reshape(b * m, -1), layer.self_out)
            query = F.linear(self._normed(x), layer.cross_q).view(b, m, *heads).transpose(1, 2)
            attended = F.scaled_dot_product_attention(query, memory.keys, memory.values, attn_mask=memory.mask.to(self.dtype), scale=1.0)
            x = x + F.linear(attended.transpose(1, 2).reshape(b * m, -1), layer.cross_out)
            x = x + F.linear(F.linear(self._normed(x), layer.wi).relu_(), layer.wo)
        self.length = t
        return self.policy.decoder.final_layer_norm(x).view(b, m, -1)

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        """`x` over its root mean square; the norm's scale is part of the matrix that follows."""
        return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON)).to(self.dtype)

    def select(self, prompts: torch.Tensor, rows: torch.Tensor) -> None:
        """Go on with the prompts `prompts` [b'] of those there were, and the paths `rows` [b', m'], numbered prompt by prompt."""
        self.memory = tuple(layer.select(prompts) for layer in self.memory)
        rows = rows.flatten()
        for layer in self._layers:
            for buffer in (layer.keys, layer.values):
                buffer[: len(rows), : self.length] = buffer[rows, : self.length]
        self.n_rows = len(rows)
