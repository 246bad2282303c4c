"""Search with a look ahead: as `prorl.guides.search`, with an eye on what may follow.

The `ahead` candidates that gain most are worth what they gain and what the best item after them gains, or
nothing where the path may stop there and no item gains anything. The others are taken to be followed by what
follows those on average. So an item that leaves its user where little is acceptable loses to one that does
not, which a search of one step cannot see.

Source: search of limited depth (Shannon 1950); the gain is this project's, see `prorl.guides.search`.
Shape key: `r` paths under way, `c` candidates, `m` those that are looked ahead of.
"""

from dataclasses import dataclass

import torch

from prorl.guides.search import Candidates, Places, SearchGuide
from prorl.prompts import Prompts

# Items that may follow a candidate: so many are weighed for their acceptance, and as many for being akin to
# the target.
NEXT_OF_EACH = 4


@dataclass(frozen=True)
class LookaheadGuide(SearchGuide):
    """Searches as `SearchGuide` does, and looks a step ahead of the `ahead` best candidates."""

    batch_size: int = 64
    ahead: int = 4

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: beside those of `SearchGuide.states`, at each step but the longest
        path's last one for every item that is weighed ahead.
        """
        longest = self.decoding.max_length
        n_looks = ((paths != 0).sum(1) + 1).clamp(max=longest - 1)
        return super().states(prompts, paths) + n_looks * self._n_ahead * 2 * self._n_next

    @property
    def _n_ahead(self) -> int:
        return min(self.ahead, 2 * self._n_of_each)

    @property
    def _n_next(self) -> int:
        return min(NEXT_OF_EACH, self.simulator.n_items)

    @property
    def _under_way(self) -> int:
        return self._n_ahead

    def _value(self, places: Places, found: Candidates, t: int) -> torch.Tensor:
        if t + 1 == self.decoding.max_length:
            return found.gain
        gain, best = found.gain.topk(self._n_ahead)
        rows = torch.arange(len(best), device=best.device).repeat_interleave(self._n_ahead)
        after = self._after(places, found, rows, best.flatten())
        later = self._candidates(after, self._n_next).gain.amax(1).view_as(gain)
        if t + 1 >= self.decoding.min_length:
            later = later.clamp(min=0)
        later = later.masked_fill(later == -torch.inf, 0.0)  # where no item is left
        return (found.gain + later.mean(1, keepdim=True)).scatter(1, best, gain + later)
