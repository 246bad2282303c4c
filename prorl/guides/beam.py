"""Beam search on a simulator: as `prorl.guides.search`, with several paths per prompt under way at once.

A path's score is the sum of its items' gains. At each step every path is followed by each of its candidates,
and the `width` best of all continuations of a prompt go on. A path that stops keeps its score, and its place
as long as it is among the best; where no item may follow it stops, however short it is. One path under way is
the search without a beam.

Source: beam search (Lowerre 1976); the gain is this project's, see `prorl.guides.search`.
Shape key: `b` prompts, `k` paths under way per prompt, `r` = b * k rows, `t` path position, `n` items, `c`
candidates of a path.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from prorl.guides.search import SearchGuide, seen_before
from prorl.prompts import Prompts


@dataclass(frozen=True)
class BeamSearchGuide(SearchGuide):
    """Searches as `SearchGuide` does, with the `width` best paths under way; gives the best of them."""

    batch_size: int = 16
    width: int = 8

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: those of the history, and at each step one for every candidate of every
        path under way; to the longest length, whatever the paths'.
        """
        n_candidates, under_way, total = 2 * self._n_of_each, 1, prompts.history.shape[1]
        for _ in range(self.decoding.max_length):
            total += under_way * n_candidates
            under_way = min(self.width, under_way * (n_candidates + 1))
        return torch.full_like(prompts.target, total)

    @property
    def _under_way(self) -> int:
        return self.width

    @torch.no_grad()
    def _batch(
        self,
        history: torch.Tensor,
        target: torch.Tensor,
        temperature: float | None,
        followed: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if temperature is not None or followed is not None:
            raise ValueError("a beam search does not weigh the alternatives of its paths")
        simulator, model, rules = self.simulator, self.simulator.model, self.decoding
        state, memory, log_prob, forbidden, akin = self._start(history, target)
        b, device = len(target), target.device
        path = target.new_zeros(b, rules.max_length)
        score = log_prob.new_zeros(b, 1)
        ended = torch.zeros(b, dtype=torch.bool, device=device)
        for t in range(rules.max_length):
            k = score.shape[1]
            worth = self.weights.ctr * F.logsigmoid(state @ simulator.vectors.T)
            if t > 0 and self.weights.coherence:
                worth -= self.weights.coherence * ~self._shares_attribute(path[:, t - 1])
            worth = worth.masked_fill(forbidden, -torch.inf)
            likely = worth.topk(self._n_of_each).indices
            near = akin.repeat_interleave(k, 0).masked_fill(forbidden, -torch.inf) + worth / 4
            candidates = torch.cat([likely, near.topk(self._n_of_each).indices], dim=1)
            after, branches = model.branch(candidates, memory)
            towards = target.repeat_interleave(k * candidates.shape[1])
            reached = simulator.target_log_prob(after.flatten(0, 1), towards).view_as(candidates)
            gain = reached - log_prob[:, None] + worth.gather(1, candidates)
            gain = gain.masked_fill(seen_before(candidates) | ended[:, None], -torch.inf)
            at_its_end = (gain == -torch.inf).all(1).view(b, k)  # it has ended, or no item is left
            may_stop = at_its_end | (t >= max(1, rules.min_length))
            stopping = score.masked_fill(~may_stop, -torch.inf)
            continued = (score[:, :, None] + gain.view(b, k, -1)).flatten(1)
            every = torch.cat([continued, stopping], dim=1)
            score, best = every.topk(min(self.width, every.shape[1]))
            stops = best >= continued.shape[1]
            of_path = torch.where(stops, best - continued.shape[1], best // candidates.shape[1])
            rows = (torch.arange(b, device=device)[:, None] * k + of_path).flatten()
            choice = torch.where(stops, 0, best % candidates.shape[1]).flatten()
            ended, item = stops.flatten(), candidates[rows, choice]
            path, forbidden = path[rows], forbidden[rows]
            path[:, t] = item.masked_fill(ended, 0)
            if "repeats" in rules.forbid:
                forbidden.scatter_(1, item[:, None], True)
            state, log_prob = after[rows, choice], reached[rows, choice]
            memory = model.follow(memory, branches, rows, choice)
        path = path.view(b, -1, rules.max_length)[torch.arange(b, device=device), score.argmax(1)]
        none = path.new_zeros(*path.shape, 0)
        return path, none, none.float()
