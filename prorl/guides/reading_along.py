"""What guides share whose simulator reads their paths along.

Shape key: `b` prompts, `t` path position.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from prorl.guides.writing import batches, states_read
from prorl.prompts import Prompts
from prorl.simulators.protocol import BranchingSimulator, RankingSimulator


@dataclass(frozen=True)
class ReadingGuide(ABC):
    """Writes paths over the items of `simulator`, batch by batch, which `_batch` does."""

    simulator: RankingSimulator | BranchingSimulator

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.simulator.n_items

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return torch.cat([self._batch(part) for part in batches(prompts, self.n_items)])

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`."""
        return states_read(self.simulator, prompts, paths)

    @abstractmethod
    def _batch(self, prompts: Prompts) -> torch.Tensor:
        """The paths [b, t] of `prompts` that are held at once."""
