"""A floor: the items that training users had most often, the same for everybody.

Source: this project's own. The items are shown in the order of their popularity, those of equal popularity in
the order of their numbers, each once whatever the rules.
"""

from dataclasses import dataclass

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.guide import GuideData
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.writing import batches, packed
from prorl.prompts import Prompts


def by_popularity(data: GuideData, n_items: int) -> np.ndarray:
    """The items [n] by the number of training users' interactions with them, the most popular first."""
    items = np.concatenate([data.sequences.of(user) for user in data.train_users])
    counts = np.bincount(items, minlength=n_items + 1)[1:]
    return 1 + np.argsort(-counts, kind="stable")


@dataclass(frozen=True)
class PopularGuide:
    """Shows `items` [n], the most popular first."""

    items: np.ndarray
    decoding: Decoding

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return len(self.items)

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        ranked = torch.from_numpy(self.items).to(prompts.target.device)
        paths = []
        for part in batches(prompts, self.n_items):
            items = ranked.expand(len(part), -1)
            closed = forbidden_at_start(part.history, part.target, self.n_items, self.decoding)
            paths.append(packed(part, items, ~closed.gather(1, items), self.decoding))
        return torch.cat(paths)
