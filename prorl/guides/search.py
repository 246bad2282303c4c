"""Search on a simulator: the path that moves *this* user towards *this* target, as the simulator sees them.

At each step the search takes the item that gains most, among those the simulator finds acceptable and those
akin to the target. It stops when the path is long enough and no item gains anything. The gain of an item is
`IoI + w_ctr log CTR`, less `w_coherence` where it shares no attribute with the item before it in the path.
What the rules of decoding forbid is forbidden to the search too.

Pre-training imitates such paths, by default those of a search that looks ahead (`prorl.guides.lookahead`),
and how near the other candidates came, at the places of the policy's own paths too. Mined paths teach the
popular item first and the target last; on small data a policy trained on them alone writes nearly the same
path for everybody.

Shape key: `b` prompts, `h` history, `t` path position, `n` items, `d` simulator state, `c` candidates, `w`
words of attribute bits.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.guides.forbidden import forbidden_at_start
from prorl.metrics.path_metrics import coherence
from prorl.prompts import Demonstrations, Prompts
from prorl.simulators.protocol import BranchingSimulator, Memory

# Scores of paths under way times items that an accelerator holds at once, 64 MiB of float32. Small batches,
# as a CPU likes them, would leave it waiting for Python.
SCORES_AT_ONCE = 2**24


@dataclass(frozen=True)
class Places:
    """Where r paths under way are: simulator state [r, d] and memory, log P(target) [r], which items they may
    not take [r, n+1], how akin each is to their targets [r, n+1], these [r], and the items before [r], None
    at the start.
    """

    state: torch.Tensor
    memory: Memory
    log_prob: torch.Tensor
    forbidden: torch.Tensor
    akin: torch.Tensor
    target: torch.Tensor
    before: torch.Tensor | None


@dataclass(frozen=True)
class Candidates:
    """Items [r, c] that may come next, what each gains [r, c], -inf for those that stand earlier in their
    row, and the simulator after each: states [r, c, d], log P(target) [r, c], and what its memory grows by.
    """

    items: torch.Tensor
    gain: torch.Tensor
    states: torch.Tensor
    log_prob: torch.Tensor
    branches: Memory


@dataclass(frozen=True)
class SearchGuide:
    """Searches on `simulator`, by the rules of `decoding`, among `n_candidates` items a step, half of them
    acceptable and half akin to the target; one more where the number is odd.

    attribute_words [n+1, w]: each item's attributes as bits, as `prorl.paths.mining.attribute_words` gives
    them; batch_size: prompts that are searched for at once on a CPU; an accelerator takes as many as fit into
    `SCORES_AT_ONCE`, if those are more.
    """

    simulator: BranchingSimulator
    decoding: Decoding
    n_candidates: int
    weights: SearchWeights
    attribute_words: np.ndarray
    batch_size: int = 128

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.simulator.n_items

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        parts = [self._batch(batch.history, batch.target, None) for batch in self._batches(prompts)]
        return torch.cat([path for path, _, _ in parts])

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: those of the history, and at each step one for every candidate.

        A path that ends before the longest length took one step more, in which no item gained anything.
        """
        n_steps = ((paths != 0).sum(1) + 1).clamp(max=self.decoding.max_length)
        return prompts.history.shape[1] + n_steps * 2 * self._n_of_each

    def demonstrations(
        self, prompts: Prompts, temperature: float | None = None, paths: torch.Tensor | None = None
    ) -> Demonstrations:
        """`prompts` with the paths found for them.

        With a `temperature`, every other candidate of a step is an alternative: the shares are the softmax of
        what they are worth over it, and the stop is worth 0 where it is allowed. With `paths` [b, t] too, by
        the same rules of decoding, these are followed in place of the search's own: the shares say what it
        would have taken at each of their places, where their own item is one candidate more.
        """
        n, parts = 0, []
        for batch in self._batches(prompts):
            followed = None if paths is None else paths[n : n + len(batch)]
            parts.append(self._batch(batch.history, batch.target, temperature, followed))
            n += len(batch)
        own = (getattr(prompts, field.name) for field in fields(Prompts))
        return Demonstrations(*own, *(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def weighing(self, factor: float) -> Self:
        """The same search, with `factor` times the weight of CTR."""
        return replace(self, weights=self.weights.replace(ctr=factor * self.weights.ctr))

    @property
    def _n_of_each(self) -> int:
        """Candidates that are taken for their acceptance, and as many for being akin to the target."""
        return min(-(-self.n_candidates // 2), self.simulator.n_items)

    def _batches(self, prompts: Prompts) -> list[Prompts]:
        at_once = self.batch_size
        if prompts.target.device.type != "cpu":
            at_once = max(at_once, SCORES_AT_ONCE // (self._under_way * (self.n_items + 1)))
        return [prompts[first : first + at_once] for first in range(0, len(prompts), at_once)]

    @property
    def _under_way(self) -> int:
        """The most paths of a prompt that are under way at once."""
        return 1

    @torch.no_grad()
    def _batch(
        self,
        history: torch.Tensor,
        target: torch.Tensor,
        temperature: float | None,
        followed: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Paths [b, t], those `followed` or the search's own, and their alternatives and shares [b, t, c], c
        being 0 without a `temperature`.
        """
        decoding, places = self.decoding, Places(*self._start(history, target), target, None)
        n_others = 0 if temperature is None else 2 * self._n_of_each + 1 + (followed is not None)
        path = target.new_zeros(len(target), decoding.max_length)
        alternatives = path.new_zeros(*path.shape, n_others)
        shares = places.log_prob.new_zeros(*path.shape, n_others)
        running = torch.arange(len(target), device=target.device)
        for t in range(decoding.max_length):
            also = None if followed is None else followed[running, t]
            found = self._candidates(places, self._n_of_each, also)
            value = self._value(places, found, t)
            best, choice = value.max(dim=1)
            may_stop = t >= max(1, decoding.min_length)
            go_on = best > (0 if may_stop else -torch.inf)  # which it is where no item is left
            if also is not None:
                go_on, choice = also != 0, torch.full_like(choice, found.items.shape[1] - 1)
            if temperature is not None:
                stop = torch.full_like(best, 0.0 if may_stop else -torch.inf)
                actions = F.pad(found.items, (0, 1))  # the last is the stop
                own = actions.gather(1, torch.where(go_on, choice, found.items.shape[1])[:, None])
                alternatives[running, t] = actions
                share = (torch.cat([value, stop[:, None]], dim=1) / temperature).softmax(1).nan_to_num(0)
                shares[running, t] = share * (actions != own)
            rows, choice, running = go_on.nonzero()[:, 0], choice[go_on], running[go_on]
            if len(running) == 0:
                break
            places = self._after(places, found, rows, choice)
            path[running, t] = found.items[rows, choice]
        return path, alternatives, shares

    def _value(self, places: Places, found: Candidates, t: int) -> torch.Tensor:
        """What each of the candidates `found` at position `t` is worth, [r, c]: what it gains."""
        return found.gain

    def _candidates(self, places: Places, n_of_each: int, also: torch.Tensor | None = None) -> Candidates:
        """`n_of_each` items taken for their acceptance, as many for being akin to the target, and the items
        `also` [r].
        """
        simulator = self.simulator
        worth = self.weights.ctr * F.logsigmoid(places.state @ simulator.vectors.T)
        if places.before is not None and self.weights.coherence:
            worth -= self.weights.coherence * ~self._shares_attribute(places.before)
        worth = worth.masked_fill(places.forbidden, -torch.inf)
        near = places.akin.masked_fill(places.forbidden, -torch.inf) + worth / 4
        items = torch.cat([worth.topk(n_of_each).indices, near.topk(n_of_each).indices], dim=1)
        if also is not None:
            items = torch.cat([items, also[:, None]], dim=1)
        states, branches = simulator.model.branch(items, places.memory)
        towards = places.target.repeat_interleave(items.shape[1])
        log_prob = simulator.target_log_prob(states.flatten(0, 1), towards).view_as(items)
        gain = log_prob - places.log_prob[:, None] + worth.gather(1, items)
        return Candidates(items, gain.masked_fill(seen_before(items), -torch.inf), states, log_prob, branches)

    def _after(self, places: Places, found: Candidates, rows: torch.Tensor, choice: torch.Tensor) -> Places:
        """Where the paths numbered `rows` [r'], each as often as it stands there, are after their candidate
        `choice` [r'].
        """
        item, forbidden = found.items[rows, choice], places.forbidden[rows]
        if "repeats" in self.decoding.forbid:
            forbidden[torch.arange(len(rows), device=rows.device), item] = True
        return Places(
            found.states[rows, choice],
            self.simulator.model.follow(places.memory, found.branches, rows, choice),
            found.log_prob[rows, choice],
            forbidden,
            places.akin[rows],
            places.target[rows],
            item,
        )

    def _start(
        self, history: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, Memory, torch.Tensor, torch.Tensor, torch.Tensor]:
        """After the history: state [b, d] and memory, log P(target) [b], which items [b, n+1] are forbidden,
        and how akin each is to the target [b, n+1].
        """
        states, memory = self.simulator.model.extend(history)
        log_prob = self.simulator.target_log_prob(states[:, -1], target)
        akin = self._directions[target] @ self._directions.T
        forbidden = forbidden_at_start(history, target, self.n_items, self.decoding)
        return states[:, -1], memory, log_prob, forbidden, akin

    @cached_property
    def _directions(self) -> torch.Tensor:
        """Item vectors [n+1, d] of length 1."""
        return F.normalize(self.simulator.vectors, dim=-1)

    @cached_property
    def _words(self) -> torch.Tensor:
        """`attribute_words` where the simulator computes."""
        return torch.from_numpy(self.attribute_words.view(np.int64)).to(self.simulator.vectors.device)

    def _shares_attribute(self, item: torch.Tensor) -> torch.Tensor:
        """Which items [b, n+1] have an attribute in common with `item` [b]."""
        shared = torch.zeros(len(item), len(self._words), dtype=torch.bool, device=item.device)
        for word in self._words.T:  # one after another: attributes can be thousands
            shared |= (word[item][:, None] & word) != 0
        return shared

    def statistics(self, demonstrations: Demonstrations) -> dict[str, float]:
        """Mean IoI, IoR, CTR, coherence and length of paths found, under the simulator searched on."""
        scores = self.simulator.score(
            demonstrations.history, demonstrations.path[:, None], demonstrations.target
        )
        return {
            "ioi": (scores.log_prob[..., -1] - scores.log_prob[..., 0]).double().mean().item(),
            "ior": (scores.rank[..., 0] - scores.rank[..., -1]).double().mean().item(),
            "ctr": (scores.acceptance.double().sum(-1)[:, 0] / demonstrations.lengths.clamp(min=1))
            .mean()
            .item(),
            "coherence": coherence(
                demonstrations.path.cpu().numpy(), demonstrations.target.cpu().numpy(), self.attribute_words
            )
            .mean()
            .item(),
            "length": demonstrations.lengths.double().mean().item(),
        }


def seen_before(items: torch.Tensor) -> torch.Tensor:
    """Which of `items` [r, c] stand earlier in their row: candidates both likely and akin to the target."""
    return (items[:, :, None] == items[:, None, :]).tril(diagonal=-1).any(-1)
