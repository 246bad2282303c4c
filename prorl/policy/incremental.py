"""The decoder of a T5 policy token by token, for all paths of a batch: the function of `T5Policy.decode`, laid out for speed.

Keys and values are never made. A head's score q . k is (W_k^T W_q x) . x', so its two matrices are multiplied once into one that leads from
a token to what meets the normed tokens themselves, and likewise W_o W_v. All heads then read one vector per token, in self-attention the
normed earlier tokens and in cross-attention the encoder's states in every layer, where keys and values would be two vectors per head and
layer. The scales of the norms are part of these matrices, which are cast once to the precision of the surrounding autocast. All paths of
a prompt attend to its encoding as one longer query. Tests hold it equal to `T5Policy.decode`.

Shape key: `b` prompts, `r` rows (paths), `w` rows of the prompt that has most, `t` tokens there is room for, `s` encoder tokens, `d` model
width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.policy.kernels import attention_weights, inverse_rms, relu
from prorl.policy.model import NORM_EPSILON, Attention, Encoded, T5Policy, product_dtype

COMPACTION = 0.75  # encodings of finished prompts are dropped when at most this share of prompts is left
ROOM = 16  # room for earlier tokens grows by this number: matrices of whole vectors, which lie in one piece


@dataclass
class _Layer:
    """Matrices of one decoder layer, and the normed tokens [r, t, d] of its self-attention so far."""

    self_in: torch.Tensor
    self_out: torch.Tensor
    cross_in: torch.Tensor
    cross_out: torch.Tensor
    wi: torch.Tensor
    wo: torch.Tensor
    earlier: torch.Tensor


class IncrementalDecoder:
    """Decodes rows, at first `m` for each of `prompts`, prompt by prompt; at most `max_tokens` each.

    For inference alone: it has no dropout.
    """

    @torch.no_grad()
    def __init__(self, policy: T5Policy, prompts: Encoded, m: int, max_tokens: int):
        self.policy, self.length = policy, 0
        weight = policy.shared.weight
        device = weight.device.type
        self.dtype = product_dtype(weight)
        self.prompts = Encoded(prompts.states.to(self.dtype), prompts.mask[:, 0])
        self._prompt = torch.arange(len(prompts.states), device=weight.device).repeat_interleave(m)
        self._width, self._cell = m, None  # rows attend through the cells of a rectangle [b, w]; None where they fill it in order
        nothing = weight.new_empty(len(self._prompt), 0, policy.sizes.d_model, dtype=self.dtype)
        with torch.autocast(device, enabled=False):
            self._layers = [self._layer(block, nothing) for block in policy.decoder.block]
            positions = torch.arange(-(-max_tokens // ROOM) * ROOM, device=weight.device)
            self._bias = policy.decoder.position_bias(positions, positions)

    def _layer(self, block, earlier: torch.Tensor) -> _Layer:
        self_attention, cross_attention, feed_forward = block.layer
        own_scale, crossed_scale = self_attention.layer_norm.weight, cross_attention.layer_norm.weight
        matrices = (
            *_without_keys(self_attention.SelfAttention, own_scale, own_scale),
            *_without_keys(cross_attention.EncDecAttention, crossed_scale, torch.ones_like(crossed_scale)),
            feed_forward.DenseReluDense.wi.weight * feed_forward.layer_norm.weight,
            feed_forward.DenseReluDense.wo.weight,
        )
        return _Layer(*(matrix.to(self.dtype) for matrix in matrices), earlier)

    @torch.no_grad()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decoder states [r, d] after the last of `tokens` [r, n], one or more, which follow all those given before."""
        states = self._states(tokens, None)
        self.length += tokens.shape[1]
        return states

    @torch.no_grad()
    def peek(self, tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """What `step` would give for the rows numbered `rows` [q] with `tokens` [q, n]; the decoder stays where it is."""
        return self._states(tokens, rows)

    def _states(self, tokens: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            x = self.policy.shared(tokens)
            for layer in self._layers:
                normed = self._normed(x)
                read = self._read(layer, normed, rows)
                if layer is self._layers[-1]:  # only the last token's state is asked for
                    x, normed = x[:, -1:].contiguous(), normed[:, -1:].contiguous()
                x = x + F.linear(self._self_attention(normed, layer, read, self.length + tokens.shape[1]), layer.self_out)
                x += F.linear(self._cross_attention(self._normed(x), layer, rows), layer.cross_out)
                x += F.linear(relu(F.linear(self._normed(x), layer.wi)), layer.wo)
            return self.policy.decoder.final_layer_norm(x[:, 0])

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        """`x` over its root mean square; the norm's scale is part of the matrix that follows."""
        return torch.mul(x, inverse_rms(x, NORM_EPSILON), out=torch.empty_like(x, dtype=self.dtype))

    def _read(self, layer: _Layer, normed: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """The normed tokens [r, t, d] read so far, `normed` [r, n, d] behind the earlier ones; kept where `rows` is None."""
        end = self.length + normed.shape[1]
        if rows is None and end > layer.earlier.shape[1]:
            layer.earlier = _with_room(layer.earlier[: len(normed)], end)
        read = layer.earlier[: len(normed)] if rows is None else _with_room(layer.earlier[rows], end)
        read[:, self.length : end] = normed
        return read

    def _self_attention(self, normed: torch.Tensor, layer: _Layer, read: torch.Tensor, end: int) -> torch.Tensor:
        """[r, n, a * d] of the last tokens `normed` [r, n, d] among those `read` [r, t, d], of which there are `end`."""
        n_rows, n, width = normed.shape
        bias = self._bias[:, end - n : end, : read.shape[1]].transpose(0, 1).flatten(0, 1)
        return _attend(F.linear(normed, layer.self_in).view(n_rows, -1, width), read, bias).view(n_rows, n, -1)

    def _cross_attention(self, normed: torch.Tensor, layer: _Layer, rows: torch.Tensor | None) -> torch.Tensor:
        """[r, n, a * d] of `normed` [r, n, d] among the tokens of their prompts."""
        (n_rows, n, width), queries, prompts = normed.shape, F.linear(normed, layer.cross_in), self.prompts
        if rows is not None:
            prompts = prompts.select(self._prompt[rows])
        elif self._cell is not None:
            cells = queries.new_zeros(len(prompts.states) * self._width, n * queries.shape[2])
            queries = cells.index_copy_(0, self._cell, queries.flatten(1))
        attended = _attend(queries.view(len(prompts.states), -1, width), prompts.states, prompts.mask)
        if rows is None and self._cell is not None:
            attended = attended.view(-1, n * layer.cross_out.shape[1])[self._cell]
        return attended.view(n_rows, n, -1)

    def keep(self, running: torch.Tensor) -> torch.Tensor:
        """Go on with the `running` [r] rows alone, at least one. Gives the former numbers [r'] of the rows in their new order.

        Rows at the end move into the places of finished ones, so that few earlier tokens are copied.
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
            layer.earlier[destination] = layer.earlier[source]

    def _arrange(self, prompt: torch.Tensor) -> None:
        """Give every row a cell of the rectangle [b, w]; `prompt` [r] are the prompts of the rows."""
        counts = torch.bincount(prompt, minlength=len(self.prompts.states))
        left = counts.nonzero()[:, 0]
        if len(left) <= COMPACTION * len(counts):
            self.prompts = self.prompts.select(left)
            prompt, counts = torch.searchsorted(left, prompt), counts[left]
        order = prompt.argsort(stable=True)
        place = torch.arange(len(prompt), device=prompt.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        self._prompt, self._width = prompt, int(counts.max())
        self._cell = torch.empty_like(prompt).index_copy_(0, order, prompt[order] * self._width + place)


def _without_keys(attention: Attention, scale: torch.Tensor, read_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrices W_k^T W_q [a * d, d] and W_o W_v [d, a * d] of all heads.

    `scale` [d] is that of the norm before the tokens that ask, `read_scale` [d] of those that are read.
    """
    queries, keys, values = (matrix.weight.unflatten(0, (attention.n_heads, -1)) for matrix in (attention.q, attention.k, attention.v))
    outputs = attention.o.weight.unflatten(1, (attention.n_heads, -1)).transpose(0, 1)
    into = (keys * read_scale).mT @ (queries * scale)
    out = outputs @ (values * read_scale)
    return into.flatten(0, 1), out.transpose(0, 1).flatten(1)


def _with_room(tokens: torch.Tensor, end: int) -> torch.Tensor:
    """`tokens` [r, t, d] with room for `end` of them."""
    return F.pad(tokens, (0, 0, 0, max(0, -(-end // ROOM) * ROOM - tokens.shape[1])))


def _attend(queries: torch.Tensor, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """What `queries` [b, q, d] meet among `tokens` [b, s, d], [b, q, d]; `bias` is added to the scores [b, q, s]."""
    return attention_weights(queries @ tokens.mT, bias) @ tokens
