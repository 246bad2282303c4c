"""Paths under way on a simulator, many at once; the candidates of a step, and what is known of each from
history, path and target.

A `World` is a simulator with the rules of decoding; a `Walk` is the paths under way in it, which is never
changed: `after` gives the next one. Nobody here asks what an item would bring before it is shown, except with
`look`, as search does.

Shape key: `b` prompts, `r` paths under way, `t` path position, `n` items, `c` candidates, `f` features, `d`
simulator state, `w` words of attribute bits.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.guide import GuideContext, GuideData
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.search import seen_before
from prorl.prompts import Prompts
from prorl.simulators.protocol import BranchingSimulator, Memory, branching

FEATURES = (
    *("logit", "log_prob", "acceptance", "log_acceptance", "near_target", "state_near_target", "both_near"),
    *("ipg", "log_popularity", "coherent", "shares_with_target", "position", "target_log_prob"),
)


@dataclass(frozen=True)
class World:
    """A simulator to guide on, with what its items are.

    words [n+1, w]: attributes as bits; log_popularity [n+1]: the logarithm of 1 and the interactions of
    training users; directions [n+1, d]: item vectors of length 1.
    """

    simulator: BranchingSimulator
    decoding: Decoding
    n_candidates: int
    words: torch.Tensor
    log_popularity: torch.Tensor
    directions: torch.Tensor

    @classmethod
    def of(cls, name: str, n_candidates: int, context: GuideContext) -> Self:
        """The world of the simulator `name`. Raises `ConfigError` where it does not branch."""
        key = f"{context.source}: {context.key}.simulator"
        simulator = branching(context.simulators[name], name, key)
        counts = popularity(context.data, simulator.n_items)
        return cls(
            simulator,
            context.decoding,
            n_candidates,
            torch.from_numpy(context.attribute_words.view(np.int64)).to(context.device),
            torch.from_numpy(np.log1p(counts)).float().to(context.device),
            F.normalize(simulator.vectors, dim=-1),
        )

    @property
    def n_of_each(self) -> int:
        """Candidates that are taken for their acceptance, and as many for being akin to the target."""
        return min(-(-self.n_candidates // 2), self.simulator.n_items)

    @property
    def n_looked_at(self) -> int:
        """States that a look at all candidates of a path computes."""
        return 2 * self.n_of_each

    @torch.no_grad()
    def start(self, prompts: Prompts) -> "Walk":
        """The walk of empty paths."""
        history, target = prompts.history, prompts.target
        forbidden = forbidden_at_start(history, target, self.simulator.n_items, self.decoding)
        states, memory = self.simulator.model.extend(history)
        rows = torch.arange(len(target), device=target.device)
        path = target.new_zeros(len(target), 0)
        return Walk(self, rows, target, path, states[:, -1], forbidden, memory, None, rows, rows)

    def shared(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Whether items `one` and `other`, of shapes that broadcast, have an attribute in common."""
        return ((self.words[one] & self.words[other]) != 0).any(-1)


def popularity(data: GuideData, n_items: int) -> np.ndarray:
    """Interactions [n+1] of training users with each item."""
    own = np.isin(data.sequences.users, data.train_users)
    return np.bincount(data.sequences.items[own], minlength=n_items + 1)


@dataclass(frozen=True)
class Candidates:
    """Items [r, c] that may be shown next, which of them `allowed` [r, c], and features [r, c, f], in the
    order of `FEATURES`. An item stands once; what is not allowed is there to fill the row.
    """

    items: torch.Tensor
    allowed: torch.Tensor
    features: torch.Tensor

    def feature(self, name: str) -> torch.Tensor:
        """The feature `name` [r, c]."""
        return self.features[..., FEATURES.index(name)]

    def best(self, scores: torch.Tensor) -> torch.Tensor:
        """The place [r] of the allowed candidate with the highest of `scores` [r, c]."""
        return scores.masked_fill(~self.allowed, -torch.inf).argmax(1)

    def at(self, place: torch.Tensor) -> torch.Tensor:
        """The items [r] at `place` [r]."""
        return self.items.gather(1, place[:, None])[:, 0]


@dataclass(frozen=True)
class Outcome:
    """What an item has brought, each [r] or [r, c]: gain in log P(target), in the target's rank, the item's
    acceptance, and whether it shares an attribute with the item before it in the path; the first one does.
    """

    gain: torch.Tensor
    rank_gain: torch.Tensor
    acceptance: torch.Tensor
    coherent: torch.Tensor


@dataclass(frozen=True)
class Look:
    """States [r, c, d] after each of some candidates, and what the simulator's model goes on from."""

    states: torch.Tensor
    branches: Memory


@dataclass(frozen=True)
class Walk:
    """Paths under way: the prompt's row [r], target [r], path so far [r, t], state [r, d] and what is
    forbidden [r, n+1]. What the model remembers are the rows `_kept` of `_past`, followed by `_branches` if
    there are any.
    """

    world: World
    row: torch.Tensor
    target: torch.Tensor
    path: torch.Tensor
    state: torch.Tensor
    forbidden: torch.Tensor
    _past: Memory
    _branches: Memory | None
    _kept: torch.Tensor
    _choice: torch.Tensor

    def __len__(self) -> int:
        return len(self.row)

    @property
    def item(self) -> torch.Tensor:
        """The items [r] shown last."""
        return self.path[:, -1]

    @property
    def length(self) -> int:
        """Items of each path so far."""
        return self.path.shape[1]

    @cached_property
    def logits(self) -> torch.Tensor:
        """Scores of all items [r, n+1], padding included."""
        return self.state @ self.world.simulator.vectors.T

    @cached_property
    def log_normaliser(self) -> torch.Tensor:
        """What log-probabilities are the scores less of, [r, 1]."""
        return self.logits[:, 1:].logsumexp(1, keepdim=True)

    @cached_property
    def target_log_prob(self) -> torch.Tensor:
        """log P(target), [r]."""
        return (self.logits.gather(1, self.target[:, None]) - self.log_normaliser)[:, 0]

    @cached_property
    def target_rank(self) -> torch.Tensor:
        """The target's rank, [r]; 1 is the best."""
        return 1 + (self.logits[:, 1:] > self.logits.gather(1, self.target[:, None])).sum(1)

    @cached_property
    def _memory(self) -> Memory:
        if self._branches is None:
            return self._past
        return self.world.simulator.model.follow(self._past, self._branches, self._kept, self._choice)

    @cached_property
    @torch.no_grad()
    def candidates(self) -> Candidates:
        """Half of them for their acceptance, half for being akin to the target; fewer where fewer are
        allowed.
        """
        world = self.world
        log_acceptance = F.logsigmoid(self.logits).masked_fill(self.forbidden, -torch.inf)
        akin = world.directions[self.target] @ world.directions.T
        likely = log_acceptance.topk(world.n_of_each).indices
        near = (akin + log_acceptance).topk(world.n_of_each).indices
        items = torch.cat([likely, near], dim=1)
        allowed = ~self.forbidden.gather(1, items) & ~seen_before(items)
        return Candidates(items, allowed, self._features(items, akin))

    def _features(self, items: torch.Tensor, akin: torch.Tensor) -> torch.Tensor:
        """Features [r, c, f] of `items` [r, c]; akin [r, n+1]: every item's cosine with the target."""
        world, target = self.world, self.target
        logit = self.logits.gather(1, items)
        near = akin.gather(1, items)
        state = F.normalize(self.state, dim=-1)
        state_near = (state * world.directions[target]).sum(-1, keepdim=True).expand_as(near)
        found = {
            "logit": logit,
            "log_prob": logit - self.log_normaliser,
            "acceptance": logit.sigmoid(),
            "log_acceptance": F.logsigmoid(logit),
            "near_target": near,
            "state_near_target": state_near,
            "both_near": near * state_near,
            "ipg": logit.sigmoid() * (near - state_near),
            "log_popularity": world.log_popularity[items],
            "coherent": self._coherent(items).float(),
            "shares_with_target": world.shared(items, target[:, None]).float(),
            "position": torch.full_like(near, self.length / world.decoding.max_length),
            "target_log_prob": self.target_log_prob[:, None].expand_as(near),
        }
        return torch.stack([found[name] for name in FEATURES], dim=-1)

    def _coherent(self, items: torch.Tensor) -> torch.Tensor:
        if self.length == 0:
            return torch.ones_like(items, dtype=torch.bool)
        return self.world.shared(items, self.item[:, None])

    @torch.no_grad()
    def look(self, items: torch.Tensor) -> Look:
        """What would follow each of `items` [r, c]: as many states as items."""
        return Look(*self.world.simulator.model.branch(items, self._memory))

    @torch.no_grad()
    def promised(self, items: torch.Tensor, look: Look) -> Outcome:
        """What each of `items` [r, c], which were looked at, would bring."""
        flat, target = look.states.flatten(0, 1), self.target.repeat_interleave(items.shape[1])
        log_prob, rank = self.world.simulator.target_scores(flat, target)
        return Outcome(
            log_prob.view_as(items) - self.target_log_prob[:, None],
            (self.target_rank[:, None] - rank.view_as(items)).float(),
            self.logits.gather(1, items).sigmoid(),
            self._coherent(items),
        )

    @torch.no_grad()
    def after(self, items: torch.Tensor) -> Self:
        """The walk in which `items` [r] are shown."""
        return self.taking(items[:, None], self.look(items[:, None]), torch.zeros_like(items))

    @torch.no_grad()
    def taking(self, items: torch.Tensor, look: Look, place: torch.Tensor) -> Self:
        """The walk in which those at `place` [r] of `items` [r, c], which were looked at, are shown."""
        rows = torch.arange(len(self), device=place.device)
        item = items[rows, place]
        forbidden = self.forbidden
        if "repeats" in self.world.decoding.forbid:
            forbidden = forbidden.scatter(1, item[:, None], True)
        path = torch.cat([self.path, item[:, None]], dim=1)
        state = look.states[rows, place]
        return type(self)(
            self.world,
            self.row,
            self.target,
            path,
            state,
            forbidden,
            self._memory,
            look.branches,
            rows,
            place,
        )

    @torch.no_grad()
    def outcome(self, before: "Walk") -> Outcome:
        """What the items shown last have brought, [r]; `before`: the same walk without them."""
        return Outcome(
            self.target_log_prob - before.target_log_prob,
            (before.target_rank - self.target_rank).float(),
            before.logits.gather(1, self.item[:, None])[:, 0].sigmoid(),
            before._coherent(self.item[:, None])[:, 0],
        )

    @property
    def ended(self) -> torch.Tensor:
        """Which paths [r] are as long as any may be, or have shown the target."""
        return (self.item == self.target) | (self.length >= self.world.decoding.max_length)

    def where(self, rows: torch.Tensor) -> Self:
        """The walk of the paths `rows` [r], a mask, alone."""
        kept = ("row", "target", "path", "state", "forbidden", "_kept", "_choice")
        return replace(self, **{name: getattr(self, name)[rows] for name in kept})
