"""Scoring in blocks, so that memory stays bounded: how much is read and scored at once, and the target's
log-probability and rank among all items.

Shape key: `r` rows: states, or sequences; `n` items, `d` simulator state.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

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


def target_scores(
    states: torch.Tensor, target: torch.Tensor, vectors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(target) [r] and rank [r] at `states` [r, d], among the items 1..n of `vectors` [n, d].

    The plain form is `scores = states @ vectors.T`, `scores.log_softmax(1)[target]` and
    `1 + (scores > scores[target]).sum(1)`. Here scores are made block by block, so that memory stays
    bounded, whatever the number of states and items.
    """
    own = (states * vectors[target - 1]).sum(-1)
    log_prob, rank = torch.empty_like(own), torch.empty(len(own), dtype=torch.int64, device=own.device)
    n_states, n_items = at_once(SCORES_AT_ONCE, states.device)
    for first in range(0, len(states), n_states):
        rows = slice(first, first + n_states)
        log_prob[rows], rank[rows] = _target_scores(states[rows], target[rows], own[rows], vectors, n_items)
    return log_prob, rank


def _target_scores(
    states: torch.Tensor, target: torch.Tensor, own: torch.Tensor, vectors: torch.Tensor, n_items: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(target) [r] and rank [r], from `own` [r], the target's score, in one pass over `vectors` [n, d],
    `n_items` at a time.
    """
    normaliser = torch.full_like(own, -torch.inf)
    n_better = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    for first in range(0, len(vectors), n_items):
        scores = states @ vectors[first : first + n_items].T
        normaliser = torch.logaddexp(normaliser, scores.logsumexp(-1))
        better = scores > own[:, None]
        # The target is left out by index: its product may differ from `own` in the last bit.
        column = target - 1 - first
        inside = (column >= 0) & (column < scores.shape[1])
        counted = better.gather(1, column.clamp(0, scores.shape[1] - 1)[:, None])[:, 0] & inside
        n_better += better.view(torch.uint8).sum(-1, dtype=torch.int32) - counted.int()
    return own - normaliser, 1 + n_better
