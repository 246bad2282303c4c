"""The decoder of a T5 policy for one path of one prompt, in as few and as large operations as possible.

Plainly: `IncrementalDecoder` with one row; a test holds the two equal. For one row, an operation takes
longer to start than to compute, and the matrices longer to read than to multiply. So all heads' keys and
values come from one product, with everything folded into them: a query is the token itself, and a weighted
sum of values the layer's output. The prompt's are made once, so that cross-attention has no matrices.

For a CPU, in the precision of the weights: autocast gains nothing here.

Shape key: `s` prompt tokens, `n` tokens of a step, `t` tokens attended to, `d` model width, `a` heads.
"""

import math
from dataclasses import dataclass

import torch

from prorl.t5.folded import FoldedAttention, FoldedT5, encoded
from prorl.t5.model import NORM_EPSILON


@dataclass(frozen=True)
class _SingleLayer:
    """The matrices of one decoder layer for tokens over their length: see `SingleDecoder._unit`.

    `own` and `crossed` [d, a * 2d] map a token of the path or the prompt to a key and a value for each head.
    """

    own: torch.Tensor
    crossed: torch.Tensor
    wi: torch.Tensor
    wo: torch.Tensor


@dataclass(frozen=True)
class SingleLayers:
    """What every path is decoded with.

    bias [t, t * a]: that of positions; head [v, d]: maps a state to logits; shortest []: added to the length
    of a token in quadrature, as the norm's epsilon.
    """

    folded: FoldedT5
    layers: list[_SingleLayer]
    bias: torch.Tensor
    head: torch.Tensor
    shortest: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, folded: FoldedT5, max_tokens: int) -> "SingleLayers":
        """Those of `folded`, in the precision of its policy's weights, for paths of `max_tokens`."""
        policy = folded.policy
        root = math.sqrt(policy.sizes.d_model)  # a normed token is as long
        with torch.autocast("cpu", enabled=False):
            layers = [
                _SingleLayer(
                    own=_keys_and_values(own, of_keys=root * root, of_values=root),
                    crossed=_keys_and_values(crossed, of_keys=root, of_values=1),
                    wi=(feed_forward.wi * root).T.contiguous(),
                    wo=feed_forward.wo.T.contiguous(),
                )
                for own, crossed, feed_forward in folded.decoder
            ]
            positions = torch.arange(max_tokens)
            bias = policy.decoder.position_bias(positions, positions).permute(1, 2, 0).flatten(1)
            # The norm's length and the logits' scale cancel.
            head = policy.shared.weight * policy.decoder.final_layer_norm.weight
            shortest = head.new_tensor(root * math.sqrt(NORM_EPSILON))
            return cls(folded, layers, bias.contiguous(), head, shortest)


class SingleDecoder:
    """Decodes one path for the prompt `prompt` [s]. For inference alone, where gradients and autocast are
    off.
    """

    def __init__(self, layers: SingleLayers, prompt: torch.Tensor):
        self._layers, self._length = layers, 0
        self._n_heads = layers.bias.shape[1] // layers.bias.shape[0]
        states = encoded(layers.folded, prompt[None]).states[0, prompt != 0]
        self._crossed = [self._heads(states @ layer.crossed) for layer in layers.layers]
        self._read = [states.new_empty(layers.bias.shape[0], layer.own.shape[1]) for layer in layers.layers]
        self._own = [self._heads(read) for read in self._read]

    def _heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys [d, t * a] and values [t * a, d] of all heads, views of `x` [t, a * 2d]."""
        keys, values = x.view(x.shape[0] * self._n_heads, -1).chunk(2, dim=1)
        return keys.T, values

    def step(self, tokens: list[int]) -> torch.Tensor:
        """The state [d] after the last of `tokens`, which follow those before; `logits` reads it."""
        start, end = self._length, self._length + len(tokens)
        self._length, n_read = end, end * self._n_heads
        x, last = self._layers.folded.policy.shared.weight[tokens], self._layers.layers[-1]
        for layer, read, (keys, values), (crossed_keys, crossed_values) in zip(
            self._layers.layers, self._read, self._own, self._crossed, strict=True
        ):
            asking = self._unit(x)
            torch.mm(asking, layer.own, out=read[start:end])
            if layer is last and end - start > 1:  # only the last token's state is asked for
                start, x, asking = end - 1, x[-1:], asking[-1:]
            scores = torch.addmm(self._layers.bias[start:end, :n_read], asking, keys[:, :n_read])
            x = self._attended(x, scores, values[:n_read])
            x = self._attended(x, self._unit(x) @ crossed_keys, crossed_values)
            x = torch.addmm(x, (self._unit(x) @ layer.wi).relu_(), layer.wo)
        return self._unit(x)[0]

    def _attended(self, x: torch.Tensor, scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """`x` [n, d] and what the heads attended to, for `scores` [n, t * a] and `values` [t * a, d]."""
        weights = scores.view(x.shape[0], -1, self._n_heads).softmax(1)
        return torch.addmm(x, weights.view(scores.shape), values)

    def _unit(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [n, d] over its length, which is the square root of d times shorter than a norm leaves it.

        Plainly: `x * inverse_rms(x, NORM_EPSILON) / sqrt(d)`.
        """
        return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).hypot_(self._layers.shortest)

    def logits(self, state: torch.Tensor, ids: slice) -> torch.Tensor:
        """Logits of the vocabulary's `ids` at `state` [d]."""
        return self._layers.head[ids] @ state


def _keys_and_values(attention: FoldedAttention, of_keys: float, of_values: float) -> torch.Tensor:
    """The matrix [d, a * 2d] from a token to each head's key and, beside it, value, times two factors."""
    into = attention.into.unflatten(0, (-1, attention.into.shape[1]))  # [a, d of a token, d of a query]
    out = attention.out.unflatten(1, (-1, attention.out.shape[0]))  # [d of the output, a, d of a token]
    return torch.cat([into.transpose(0, 1) * of_keys, out.permute(2, 1, 0) * of_values], dim=2).flatten(1)
