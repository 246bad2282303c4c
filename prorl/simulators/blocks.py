"""Scoring in blocks, so that memory stays bounded: how much is read and scored at once, and the target's
log-probability and rank among all items.

Shape key: `r` rows: states, or sequences; `n` items, `d` simulator state.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

# States times items whose scores are held at once, and items of paths read at once. On a CPU as many as its
# caches hold; else as few calls as memory allows.
SCORES_AT_ONCE = {"cpu": (128, 1024), "accelerator": (2**14, 2**13)}
READ_AT_ONCE = {"cpu": 1280, "accelerator": 2**17}


def at_once(table: dict[str, Any], device: torch.device) -> Any:
    """The entry of `table` for `device`: all but CPUs count as accelerators."""
    return table["cpu" if device.type == "cpu" else "accelerator"]


def full_precision(method: Callable) -> Callable:
    """Run `method` outside autocast, so that training is rewarded by the very function that evaluation judges
    by.
    """

    @functools.wraps(method)
    def outside(self, *arguments, **options):
        with torch.autocast(self.vectors.device.type, enabled=False):
            return method(self, *arguments, **options)

    return outside


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The type that a sum over all items is taken in: in bfloat16 most of a million are less than the last
    bit of what is summed before them.
    """
    return torch.promote_types(dtype, torch.float32)


def of_like_length(length: torch.Tensor, at_once: int) -> Iterator[tuple[torch.Tensor, int]]:
    """Groups of rows, the shortest first, with the longest's length, from `length` [r] of all; rows of length
    0 are left out.

    A group's rows times its longest are at most `at_once`, unless it is a single row.
    """
    order = length.argsort(stable=True)
    lengths, counts = torch.stack(torch.unique_consecutive(length[order], return_counts=True)).tolist()
    first = last = longest = 0
    for own, count in zip(lengths, counts, strict=True):
        end = last + count
        if own == 0:
            first = last = end
        while last < end:
            room = max(1, at_once // own) - (last - first)
            if room <= 0:
                yield order[first:last], longest
                first = last
            else:
                last, longest = min(end, last + room), own
    if last > first:
        yield order[first:last], longest


class SharedVectors:
    """Which items have the same vector as others, found once for the vectors as they are."""

    def __init__(self):
        self._found: tuple[list[tuple[int, int]], torch.Tensor | None] | None = None

    def of(self, *parts: torch.Tensor) -> torch.Tensor | None:
        """The first item [n], counted from 0, with each item's vector, that being all `parts` [n, d] side by
        side; None where no two items share one.
        """
        state = [(part.data_ptr(), part._version) for part in parts]
        if self._found is None or self._found[0] != state:
            rows = torch.cat(parts, dim=1).detach().cpu()
            rows = rows.to(at_least_float32(rows.dtype)).numpy() + 0.0  # -0 becomes 0
            as_bytes = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))
            _, first, group = np.unique(as_bytes[:, 0], return_index=True, return_inverse=True)
            shares = len(first) < len(rows)
            found = torch.from_numpy(first[group]).to(parts[0].device) if shares else None
            self._found = (state, found)
        return self._found[1]


def target_scores(
    states: torch.Tensor, target: torch.Tensor, vectors: torch.Tensor, shared: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(target) [r] and rank [r] at `states` [r, d], among the items 1..n of `vectors` [n, d].

    The plain form is `scores = states @ vectors.T`, `scores.log_softmax(1)[target]` and
    `1 + (scores > scores[target]).sum(1)`. Here scores are made block by block, so that memory stays
    bounded, whatever the number of states and items. An item that shares the target's vector, by `shared` as
    `SharedVectors` gives it, is never better: its score differs in the last bits at most, by where it stands
    in the product.
    """
    own = (states * vectors[target - 1]).sum(-1)
    log_prob, rank = torch.empty_like(own), torch.empty(len(own), dtype=torch.int64, device=own.device)
    n_states, n_items = at_once(SCORES_AT_ONCE, states.device)
    for first in range(0, len(states), n_states):
        rows = slice(first, first + n_states)
        log_prob[rows], rank[rows] = _target_scores(
            states[rows], target[rows], own[rows], vectors, n_items, shared
        )
    return log_prob, rank


def _target_scores(
    states: torch.Tensor,
    target: torch.Tensor,
    own: torch.Tensor,
    vectors: torch.Tensor,
    n_items: int,
    shared: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(target) [r] and rank [r], from `own` [r], the target's score, in one pass over `vectors` [n, d],
    `n_items` at a time.
    """
    summed = at_least_float32(own.dtype)
    normaliser = torch.full_like(own, -torch.inf, dtype=summed)
    n_better = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    for first in range(0, len(vectors), n_items):
        scores = states @ vectors[first : first + n_items].T
        normaliser = torch.logaddexp(normaliser, scores.to(summed).logsumexp(-1))
        better = scores > own[:, None]
        if shared is not None:
            better &= shared[first : first + n_items] != shared[target - 1][:, None]
        # The target is left out by index: its product may differ from `own` in the last bit.
        column = target - 1 - first
        inside = (column >= 0) & (column < scores.shape[1])
        counted = better.gather(1, column.clamp(0, scores.shape[1] - 1)[:, None])[:, 0] & inside
        n_better += better.view(torch.uint8).sum(-1, dtype=torch.int32) - counted.int()
    return (own - normaliser).to(own.dtype), 1 + n_better
