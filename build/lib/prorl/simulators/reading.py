"""Scores of all items after sequences of unequal lengths, from any simulator that ranks all items.

Shape key: `b` rows, `h` history, `t` path position, `n` items.
"""

import torch

from prorl.simulators.protocol import RankingSimulator


def appended(history: torch.Tensor, path: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The items of `path` [b, t] behind `history` [b, h], and how many there are in all, [b].

    Non-items (-1) are skipped; 0 stands behind the end.
    """
    order = (path <= 0).to(torch.int8).argsort(dim=-1, stable=True)
    items = torch.cat([history, path.gather(-1, order).clamp(min=0)], dim=1)
    return items, history.shape[1] + (path > 0).sum(1)


def item_scores_after(simulator: RankingSimulator, history: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
    """Scores [b, n] of all items after `history` [b, h] and `path` [b, t] (0 behind its end, -1 skipped), the
    first column being item 1.

    A simulator reads histories of one length: rows of the same length are read together.
    """
    items, lengths = appended(history, path)
    scores = torch.empty(0)
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero()[:, 0]
        own = simulator.item_scores(items[rows, :length])
        if not scores.numel():
            scores = own.new_empty(len(items), own.shape[1])
        scores[rows] = own
    return scores
