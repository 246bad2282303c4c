"""What a simulator that is not causal says of a path: one pass for every prefix.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `h` history, `s` items read, `d` simulator
state, `n` items, `r` rows: prefixes, or states.
"""

from typing import cast

import torch
import torch.nn.functional as F

from prorl.simulators.blocks import SharedVectors, at_once, full_precision, of_like_length, target_scores
from prorl.simulators.padded_models import PaddedModel
from prorl.simulators.protocol import Scores, Simulator

READ_AT_ONCE = {"cpu": 2**12, "accelerator": 2**17}  # positions of prefixes


class PaddedSimulator(Simulator):
    """A model that reads every prefix anew as `Simulator`: `P(i | S) = softmax over items of score(i, S)`.

    It cannot branch: no search runs on it.
    """

    def __init__(self, model: PaddedModel):
        self.model = model.eval().requires_grad_(False)
        self.n_items: int = model.n_items - 1
        self._shared = SharedVectors()

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        return self.model.vectors

    def to(self, device: torch.device | str) -> "PaddedSimulator":
        """Move to `device`."""
        self.model.to(device)
        return self

    @torch.no_grad()
    @full_precision
    def score(
        self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor, *, ends: bool = False
    ) -> Scores:
        """See `Simulator.score`.

        The plain form reads history and prefix anew for every prefix, padded, and scores all items after it.
        Here prefixes of the same items are read once, those of like length together, as many at once as
        memory allows. Where `ends`, all are read too, since acceptance needs them.
        """
        b, m, t = path.shape
        order = (path <= 0).to(torch.int8).argsort(dim=-1, stable=True)
        rows = path.gather(-1, order).clamp(min=0).reshape(b * m, t)
        length = (rows != 0).sum(1)
        row, n_read = (torch.arange(t + 1, device=rows.device) <= length[:, None]).nonzero(as_tuple=True)
        sequences = torch.cat([history.repeat_interleave(m, dim=0), rows], dim=1)[row]
        lengths = history.shape[1] + n_read
        sequences *= torch.arange(sequences.shape[1], device=rows.device) < lengths[:, None]
        sequences, place = sequences.unique(dim=0, return_inverse=True)
        states = self.states(sequences, (sequences != 0).sum(1))[place]

        goes_on = n_read < length[row]
        following = rows[row[goes_on], n_read[goes_on]]
        acceptance = torch.zeros(rows.shape, dtype=states.dtype, device=rows.device)
        acceptance[row[goes_on], n_read[goes_on]] = self._scores_of(states[goes_on], following).sigmoid()
        log_prob, rank = self._at_prefixes(states, row, n_read, length, target.repeat_interleave(m), ends)
        n_items = F.pad((path > 0).cumsum(-1), (1, 0))  # before each position, and at the end
        log_prob, rank = log_prob.view(b, m, -1), rank.view(b, m, -1)
        return Scores(
            log_prob=log_prob if ends else log_prob.gather(-1, n_items),
            rank=rank if ends else rank.gather(-1, n_items),
            acceptance=F.pad(acceptance, (0, 1)).view(b, m, t + 1).gather(-1, n_items[..., :-1]) * (path > 0),
        )

    def _at_prefixes(
        self,
        states: torch.Tensor,
        row: torch.Tensor,
        n_read: torch.Tensor,
        length: torch.Tensor,
        target: torch.Tensor,
        ends: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """log P(target) and rank of the paths [b * m, 2 or t+1]; of no meaning beyond their ends.

        `states` [r, d] are those after `n_read` [r] items of the paths `row` [r]; `length` [b * m] and
        `target` [b * m] are those of all paths.
        """
        if ends:
            is_end = (n_read == 0) | (n_read == length[row])
            states, row, n_read = states[is_end], row[is_end], n_read[is_end]
        found = self.target_scores(states, target[row])
        columns = 2 if ends else int(length.max()) + 1
        column = n_read.clamp(max=1) if ends else n_read
        tables = [part.new_zeros(len(length), columns) for part in found]
        for table, part in zip(tables, found, strict=True):
            table[row, column] = part
        if ends:  # an empty path ends where it starts
            for table in tables:
                table[length == 0, 1] = table[length == 0, 0]
        return tables[0], tables[1]

    @torch.no_grad()
    @full_precision
    def states(self, items: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """See `EmbeddingSimulator.states`. Raises `ValueError` beyond `max_length` items."""
        if lengths is None:
            lengths = torch.full((len(items),), items.shape[1], device=items.device)
        if len(items) and (longest := int(lengths.max())) > self.model.longest:
            raise ValueError(f"{self.model.name} reads at most {self.model.longest} items, got {longest}")
        states = self.vectors.new_empty(len(items), self.vectors.shape[1])
        read_at_once = at_once(READ_AT_ONCE, items.device)
        for group, _ in of_like_length(self.model.n_positions(lengths), read_at_once):
            own = lengths[group]
            states[group] = self.model.state_after(items[group, : int(own.max())], own)
        return states

    @torch.no_grad()
    @full_precision
    def item_scores(self, history: torch.Tensor) -> torch.Tensor:
        """See `RankingSimulator.item_scores`; their softmax is P(item | history)."""
        return self.model.scores(self.states(history))

    @torch.no_grad()
    @full_precision
    def target_scores(self, states: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log P(target) [r] and rank [r] at `states` [r, d]."""
        vectors, bias = self.vectors[1:], self.model.bias
        if bias is None:
            return target_scores(states, target, vectors, self._shared.of(vectors))
        # A bias is an inner product too, that of 1 in a further place.
        parts = vectors, bias[1:, None]
        states = F.pad(states, (0, 1), value=1.0)
        return target_scores(states, target, torch.cat(parts, dim=1), self._shared.of(*parts))

    def _scores_of(self, states: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The score [r] of each of `items` [r] at `states` [r, d]."""
        own = (states * self.vectors[items]).sum(-1)
        return own if self.model.bias is None else own + cast(torch.Tensor, self.model.bias)[items]
