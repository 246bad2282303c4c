"""RecBole's models that are not causal: what they say after a prefix needs a pass over that prefix alone.

BERT4Rec reads the items and a mask behind them, and says at the mask what follows. RecBole's own prediction
puts the mask there and then drops the first column, so the oldest item is never read and all others stand one
position too early. Here the model has a position more than it reads items, and every item keeps its place.
An item's score holds the model's own bias of that item, in log P, rank and acceptance alike, as the model was
trained: the three are readings of one score.

LightSANs has neither a causal mask nor one of padding, and normalises its attention over positions: what it
says depends on the length that a sequence is padded to. It always reads `max_length` positions, as it does in
training.

Shape key: `r` rows, `w` windows, `s` items read, `d` simulator state, `n` items.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from prorl.config.simulator import BERT4RecSizes, LightSANsSizes
from prorl.simulators.recbole_models import (
    BERT4Rec,
    ItemCount,
    LightSANs,
    gelu_in_one_call,
    recbole_settings,
)


class PaddedModel(nn.Module, ABC):
    """A model that reads every prefix anew, at most `longest` items of it.

    As RecBole counts them, `n_items` are the items and padding.
    """

    name: str
    longest: int
    passes: int
    n_items: int
    item_embedding: nn.Embedding

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        return self.item_embedding.weight[: self.n_items]

    @property
    def bias(self) -> torch.Tensor | None:
        """What each item's score has beside the inner product of state and vector, [n+1]; or None."""
        return None

    @abstractmethod
    def n_positions(self, lengths: torch.Tensor) -> torch.Tensor:
        """Positions [r] that are computed for sequences of `lengths` [r], if read alone."""

    @abstractmethod
    def state_after(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """States [r, d] after `items` [r, s], of which the first `lengths` [r] are items and the others 0."""

    @abstractmethod
    def examples(
        self, rows: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What of the windows `rows` [w, s] is read in training, and the items wanted there, 0 for none."""

    @abstractmethod
    def read(self, items: torch.Tensor) -> torch.Tensor:
        """States [w, s, d] at every position of `items` [w, s], as `examples` gives them."""

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """Scores [r, n] of the items 1..n at `states` [r, d]."""
        return F.linear(states, self.vectors[1:], None if self.bias is None else self.bias[1:])


class PaddedBERT4Rec(BERT4Rec, PaddedModel):
    """RecBole's BERT4Rec with one position more than it reads items, that of the mask."""

    name = "BERT4Rec"

    def __init__(self, sizes: BERT4RecSizes, n_items: int, max_length: int):
        super().__init__(recbole_settings(sizes, max_length + 1), ItemCount(n_items))
        self.longest, self.passes, self.ft_ratio = max_length, sizes.passes, sizes.ft_ratio
        gelu_in_one_call(_layers(self), sizes.hidden_act)

    @property
    def bias(self) -> torch.Tensor:
        """See `PaddedModel.bias`."""
        return self.output_bias

    def n_positions(self, lengths: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.n_positions`: the items and the mask; padding is masked out of attention."""
        return lengths + 1

    def state_after(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.state_after`."""
        row = torch.arange(len(items), device=items.device)
        masked = F.pad(items, (0, 1))
        masked[row, lengths] = self.mask_token
        return self.forward(masked)[row, lengths]

    def examples(
        self, rows: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PaddedModel.examples`.

        Of `ft_ratio` of the windows a random prefix is read, with its last item masked, as in judging. Of the
        others every item is masked with the chance `mask_ratio`, and one at least.
        """
        lengths = (rows != 0).sum(1).numpy()
        columns = np.arange(rows.shape[1])
        inside = columns < lengths[:, None]
        as_judged = generator.random(len(rows)) < self.ft_ratio
        masked = (generator.random(rows.shape) < self.mask_ratio) & inside
        masked |= (columns == generator.integers(0, lengths)[:, None]) & ~masked.any(1, keepdims=True)
        last = generator.integers(1, lengths)  # at least one item before it
        masked = np.where(as_judged[:, None], columns == last[:, None], masked)
        read = inside & ~(as_judged[:, None] & (columns > last[:, None]))
        wanted = rows * torch.from_numpy(masked)
        inputs = rows.masked_fill(torch.from_numpy(masked), self.mask_token) * torch.from_numpy(read)
        longest = int(read.sum(1).max())
        return inputs[:, :longest], wanted[:, :longest]

    def read(self, items: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.read`."""
        return self.forward(items)


class PaddedLightSANs(LightSANs, PaddedModel):
    """RecBole's LightSANs, always padded to `max_length`."""

    name = "LightSANs"

    def __init__(self, sizes: LightSANsSizes, n_items: int, max_length: int):
        super().__init__(recbole_settings(sizes, max_length), ItemCount(n_items))
        self.longest, self.passes = max_length, sizes.passes
        gelu_in_one_call(_layers(self), sizes.hidden_act)

    def n_positions(self, lengths: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.n_positions`: all there are."""
        return torch.full_like(lengths, self.longest)

    def state_after(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.state_after`."""
        return self.forward(F.pad(items, (0, self.longest - items.shape[1])), lengths)

    def examples(
        self, rows: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PaddedModel.examples`: a random prefix of each window, and the item that follows it."""
        length = torch.from_numpy(generator.integers(1, (rows != 0).sum(1).numpy()))[:, None]
        columns = torch.arange(self.longest)
        inputs = rows[:, :-1] * (columns < length)
        return inputs, rows[:, 1:] * (columns == length - 1)

    def read(self, items: torch.Tensor) -> torch.Tensor:
        """See `PaddedModel.read`."""
        vectors, positions = self.embedding_layer(items)
        return self.trm_encoder(self.dropout(self.LayerNorm(vectors)), positions)[-1]


def _layers(model: Any) -> Any:
    """RecBole's layers, whose parts have no types."""
    return model.trm_encoder.layer
