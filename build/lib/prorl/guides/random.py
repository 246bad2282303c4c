"""The floor of all guides: items drawn uniformly from those that the rules leave open.

Source: this project's own. Where the rules forbid no repeats, an item may be drawn twice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.guides.writing import Unfinished, batches, step_by_step
from prorl.policy.decoding import keyed_uniforms
from prorl.prompts import Prompts
from prorl.runtime import derived_seed


@dataclass(frozen=True)
class RandomGuide:
    """Draws by `seed` and each prompt's number."""

    n_items: int
    decoding: Decoding
    seed: int

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        parts = batches(prompts, self.n_items)
        return torch.cat([step_by_step(part, self.decoding, self.n_items, self._worth) for part in parts])

    def _worth(self, unfinished: Unfinished) -> torch.Tensor:
        """A number drawn for every item, of which the greatest is taken."""
        seed = derived_seed(self.seed, "random", unfinished.path.shape[1])
        uniforms = keyed_uniforms(seed, unfinished.prompts.number, 1, self.n_items)
        return F.pad(uniforms[:, 0], (1, 0))
