"""The decoder of a T5 policy token by token, for all paths of a batch.

Plainly: `T5.decode` of all tokens so far, its last state alone; tests hold the two equal.

Its layers are those of `prorl.t5.folded`, in which all heads read one vector per token. Self-attention
reads the normed earlier tokens, cross-attention the encoder's states. All paths of a prompt attend to its
encoding as one longer query.

Shape key: `b` prompts, `r` rows (paths), `w` rows of the prompt that has most, `t` tokens there is room for,
`s` encoder tokens, `c` ways to go on, `d` model width, `a` heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.t5.folded import FoldedAttention, FoldedFeedForward, FoldedT5, attend, encoded, normed
from prorl.t5.packing import within_groups

COMPACTION = 0.75  # encodings of finished prompts are dropped when at most this share of prompts is left
ROOM = (
    16  # room for earlier tokens grows by this number, so that rows fill whole vectors and lie in one piece
)


@dataclass
class _Layer:
    """One decoder layer, and the normed tokens [r, t, d] that its self-attention has read so far."""

    self_attention: FoldedAttention
    cross_attention: FoldedAttention
    feed_forward: FoldedFeedForward
    earlier: torch.Tensor


class IncrementalDecoder:
    """Decodes rows of at most `max_tokens` tokens: at first `m` rows for each of `prompts` [b, s], in order,
    in the precision of the `folded` layers.

    For inference alone: it has no dropout.
    """

    @torch.no_grad()
    def __init__(self, folded: FoldedT5, prompts: torch.Tensor, m: int, max_tokens: int):
        self.policy, self.dtype, self.length = folded.policy, folded.dtype, 0
        weight = self.policy.shared.weight
        self.prompts = encoded(folded, prompts)
        self._prompt = torch.arange(len(prompts), device=weight.device).repeat_interleave(m)
        # Rows attend through the cells of a rectangle [b, w]; None where they fill it in order.
        self._width: int = m
        self._cell: torch.Tensor | None = None
        nothing = weight.new_empty(len(self._prompt), 0, self.policy.sizes.d_model, dtype=self.dtype)
        self._layers = [_Layer(*layer, nothing) for layer in folded.decoder]
        with torch.autocast(weight.device.type, enabled=False):
            positions = torch.arange(-(-max_tokens // ROOM) * ROOM, device=weight.device)
            self._bias = self.policy.decoder.position_bias(positions, positions)

    @torch.no_grad()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decoder states [r, d] after the last of `tokens` [r, n], n >= 1, which follow those before."""
        states = self._states(tokens, None)
        self.length += tokens.shape[1]
        return states

    @torch.no_grad()
    def peek(self, tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """What `step` would give for the rows numbered `rows` [q] with `tokens` [q, n].

        The decoder stays where it is.
        """
        return self._states(tokens, rows)

    def _states(self, tokens: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            x = self.policy.shared(tokens)
            for layer in self._layers:
                asking = normed(x, self.dtype)
                read = self._read(layer, asking, rows)
                if layer is self._layers[-1]:  # only the last token's state is asked for
                    x, asking = x[:, -1:].contiguous(), asking[:, -1:].contiguous()
                end = self.length + tokens.shape[1]
                bias = self._bias[:, end - asking.shape[1] : end, : read.shape[1]]
                x = x + self._self_attention(asking, layer.self_attention, read, bias)
                x += self._cross_attention(normed(x, self.dtype), layer.cross_attention, rows)
                x += layer.feed_forward(normed(x, self.dtype))
            return self.policy.decoder.final_layer_norm(x[:, 0])

    @torch.no_grad()
    def branch(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decoder states [r, c, d] after the last of `tokens` [r, c, n]: c ways to go on from each row.

        The decoder stays where it is. Plainly: `peek` of every way by itself. Here all ways of a row read its
        earlier tokens in one piece, and each its own tokens alone.
        """
        c, n = tokens.shape[1:]
        bias = self._branch_bias(c, n)
        with torch.autocast(tokens.device.type, enabled=False):
            x = self.policy.shared(tokens.flatten(1))
            for layer in self._layers:
                asking = normed(x, self.dtype)
                read = torch.cat([layer.earlier[: len(tokens), : self.length], asking], dim=1)
                if layer is self._layers[-1]:  # only the last tokens' states are asked for
                    last = torch.arange(n - 1, c * n, n, device=tokens.device)
                    x, asking, bias = x[:, last], asking[:, last], bias[:, last]
                x = x + self._self_attention(asking, layer.self_attention, read, bias)
                x += self._cross_attention(normed(x, self.dtype), layer.cross_attention, None)
                x += layer.feed_forward(normed(x, self.dtype))
            return self.policy.decoder.final_layer_norm(x)

    def _branch_bias(self, c: int, n: int) -> torch.Tensor:
        """Relative bias [a, c * n, length + c * n] of c ways of n tokens behind those so far; -inf between
        two ways.
        """
        bias = self._bias[:, self.length : self.length + n, : self.length + n]
        earlier, own = bias.split([self.length, n], dim=2)
        same = torch.eye(c, dtype=torch.bool, device=bias.device)[:, None, :, None]
        own = torch.where(same, own[:, None, :, None], -torch.inf)  # [a, c, n, c, n]
        return torch.cat([earlier.repeat(1, c, 1), own.flatten(3).flatten(1, 2)], dim=2)

    def _read(self, layer: _Layer, latest: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """The normed tokens [r, t, d] so far: the earlier ones, then the `latest` [r, n, d].

        The decoder keeps them where `rows` is None.
        """
        end = self.length + latest.shape[1]
        if rows is None and end > layer.earlier.shape[1]:
            layer.earlier = _with_room(layer.earlier[: len(latest)], end)
        read = layer.earlier[: len(latest)] if rows is None else _with_room(layer.earlier[rows], end)
        read[:, self.length : end] = latest
        return read

    def _self_attention(
        self, asking: torch.Tensor, attention: FoldedAttention, read: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Output [r, n, d] for the normed tokens `asking` [r, n, d], which attend to those of `read` [r, t,
        d] by their relative `bias` [a, n, t].
        """
        n_rows, n, width = asking.shape
        bias = bias.transpose(0, 1).flatten(0, 1)
        met = attend(F.linear(asking, attention.into).view(n_rows, -1, width), read, bias)
        return F.linear(met.view(n_rows, n, -1), attention.out)

    def _cross_attention(
        self, asking: torch.Tensor, attention: FoldedAttention, rows: torch.Tensor | None
    ) -> torch.Tensor:
        """Output [r, n, d] for the normed tokens `asking` [r, n, d], which attend to their prompts."""
        (n_rows, n, width), queries, prompts = asking.shape, F.linear(asking, attention.into), self.prompts
        if rows is not None:
            prompts = prompts.select(self._prompt[rows])
        elif self._cell is not None:
            cells = queries.new_zeros(len(prompts.states) * self._width, n * queries.shape[2])
            queries = cells.index_copy_(0, self._cell, queries.flatten(1))
        met = attend(queries.view(len(prompts.states), -1, width), prompts.states, prompts.mask[:, 0])
        if rows is None and self._cell is not None:
            met = met.view(-1, n * attention.out.shape[1])[self._cell]
        return F.linear(met.view(n_rows, n, -1), attention.out)

    def keep(self, running: torch.Tensor) -> torch.Tensor:
        """Continue the rows where the mask `running` [r] is true, at least one.

        Returns the former numbers [r'] of the rows in their new order. Rows at the end move into the places
        of finished ones, so that few earlier tokens are copied.
        """
        n = int(running.sum())
        gaps, movers = (~running[:n]).nonzero()[:, 0], n + running[n:].nonzero()[:, 0]
        rows = torch.arange(n, device=running.device).index_copy_(0, gaps, movers)
        for layer in self._layers:
            layer.earlier[gaps] = layer.earlier[movers]
        self._arrange(self._prompt[rows])
        return rows

    def select(self, rows: torch.Tensor) -> None:
        """Continue the rows numbered `rows` [r'], in that order; a row may appear several times, so that
        there may be more of them than before.
        """
        for layer in self._layers:
            layer.earlier = layer.earlier[rows]
        self._arrange(self._prompt[rows])

    def _arrange(self, prompt: torch.Tensor) -> None:
        """Give every row a cell of the rectangle [b, w]; `prompt` [r] holds the prompts of the rows."""
        counts = torch.bincount(prompt, minlength=len(self.prompts.states))
        left = counts.nonzero()[:, 0]
        if len(left) <= COMPACTION * len(counts):
            self.prompts = self.prompts.select(left)
            prompt, counts = torch.searchsorted(left, prompt), counts[left]
        order = prompt.argsort(stable=True)
        self._prompt, self._width = prompt, int(counts.max())
        cell = prompt[order] * self._width + within_groups(counts)
        self._cell = torch.empty_like(prompt).index_copy_(0, order, cell)


def _with_room(tokens: torch.Tensor, end: int) -> torch.Tensor:
    """`tokens` [r, t, d] with room for `end` of them."""
    return F.pad(tokens, (0, 0, 0, max(0, -(-end // ROOM) * ROOM - tokens.shape[1])))
