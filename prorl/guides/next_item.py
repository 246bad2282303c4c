"""Rec2Inf: a recommender's likeliest next items, re-ranked by how near they are to the target.

At each step the `k` items that the simulator scores highest, of those the rules leave open, are taken, and
the nearest of them to the target is shown; of equally near ones the likeliest. The path ends with the target
where it may be shown, else at the longest length. With all items for `k` this leads straight to the target's
neighbours.

Source: Zhu, Ge, Gong, Li, "Influential Recommender System", ICDE 2023 (arXiv 2211.10002), which measures the
distance by attributes (Hamming) or by embeddings (L2); `cosine` is the ProRL paper's. Departures: the
recommender is one of this project's simulators; the published k is 5, tried up to 50; an item is shown once,
whatever the rules.
Shape key: `b` prompts, `t` path position, `n` items.
"""

from dataclasses import dataclass

import torch

from prorl.config.decoding import Decoding
from prorl.guides.distances import Distances
from prorl.guides.reading_along import ReadingGuide
from prorl.guides.writing import ItemScores, Unfinished, step_by_step
from prorl.prompts import Prompts


@dataclass(frozen=True)
class NextItemGuide(ReadingGuide):
    """Re-ranks the `k` likeliest items of `simulator`; all of them where `k` is None."""

    k: int | None
    distances: Distances
    decoding: Decoding

    def _batch(self, prompts: Prompts) -> torch.Tensor:
        scores, k = ItemScores(self.simulator), min(self.k or self.n_items, self.n_items)
        distance = self.distances.to(prompts.target)

        def worth(unfinished: Unfinished) -> torch.Tensor:
            likely = scores.after(unfinished).masked_fill(unfinished.closed, -torch.inf)
            likeliest = likely.topk(k, dim=1).indices
            far = distance.gather(1, likeliest).double()
            far.masked_fill_(unfinished.closed.gather(1, likeliest), torch.inf)  # fewer than k are open
            nearest = likeliest.gather(1, far.argsort(dim=1, stable=True)[:, :1])
            return torch.zeros_like(likely).scatter_(1, nearest, 1.0)

        return step_by_step(prompts, self.decoding, self.n_items, worth, also=["repeats"])
