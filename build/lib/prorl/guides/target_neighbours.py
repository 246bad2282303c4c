"""A floor: the items nearest to the target, whoever the user is.

Source: this project's own. Among equally near items the one with the lower number comes first; each is shown
once whatever the rules. Where the target may be shown it is the nearest of all, and ends the path.
"""

from dataclasses import dataclass

import torch

from prorl.config.decoding import Decoding
from prorl.guides.distances import Distances
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.writing import batches, packed
from prorl.prompts import Prompts


@dataclass(frozen=True)
class TargetNeighboursGuide:
    """Shows the items nearest to the target, as many as the longest path has; the nearest first or last."""

    n_items: int
    distances: Distances
    nearest_last: bool
    decoding: Decoding

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return torch.cat([self._batch(part) for part in batches(prompts, self.n_items)])

    def _batch(self, prompts: Prompts) -> torch.Tensor:
        closed = forbidden_at_start(prompts.history, prompts.target, self.n_items, self.decoding)
        distance = self.distances.to(prompts.target).double().masked_fill(closed, torch.inf)
        distance.scatter_(1, prompts.target[:, None], -1.0)  # before an item that is just like it
        distance.masked_fill_(closed, torch.inf)
        items = distance.argsort(dim=1, stable=True)[:, : self.decoding.max_length]
        if self.nearest_last:
            items = items.flip(1)
        return packed(prompts, items, ~closed.gather(1, items), self.decoding)
