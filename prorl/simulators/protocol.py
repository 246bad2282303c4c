"""What a simulator is: `Simulator` for rewards and evaluation, and what else is asked of one in some places.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `h` history, `s` items read, `c` candidates,
`d` simulator state, `n` items, `r` rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import torch

from prorl.config.section import ConfigError
from prorl.paths.sequences import Sequences

Memory = Any  # what a model keeps of the items it has read; each model's own


@dataclass(frozen=True)
class Scores:
    """What a simulator says of paths.

    log_prob [b, m, t+1] and rank [b, m, t+1] of the target after 0..t items of the path, from softmax over
    all items, padding excluded; natural log; rank 1 is best. acceptance [b, m, t], the probability that the
    user takes each item. Beyond the end of a path log_prob and rank keep their last value and acceptance is
    0. Where the ends alone were asked for, log_prob and rank are [b, m, 2], before the path and after it.
    """

    log_prob: torch.Tensor
    rank: torch.Tensor
    acceptance: torch.Tensor


class Simulator(Protocol):
    """Stands in for users: all that rewards and evaluation need."""

    n_items: int

    def score(
        self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor, *, ends: bool = False
    ) -> Scores:
        """Scores of `path` [b, m, t] (items, 0 behind the end) after `history` [b, h] (no padding) towards
        `target` [b].

        A non-item (-1) is skipped: after it log_prob and rank are what they were before, and its acceptance
        is 0. Where `ends`, the target is scored before and after the path alone.
        """
        ...


@runtime_checkable
class OwnSimulator(Simulator, Protocol):
    """A user's own class, which params.yaml names as `module:Class`; it fits, stores and loads itself.

    Where it has a method `to(device)`, which gives the instance there, it is moved to where prompts are.
    """

    @classmethod
    def fit(
        cls, train: Sequences, validation: Sequences, n_items: int, settings: dict[str, Any], seed: int
    ) -> Self:
        """An instance fitted to the sequences of training users over items 1..n_items, with its `settings` of
        params.yaml; those of validation users are there to stop by. It may lie on any device where it has
        `to`, and on the CPU where it has none.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs into `folder`, which is empty."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The instance that was saved into `folder`."""
        ...


@runtime_checkable
class BranchingModel(Protocol):
    """A sequence model that goes on from what it has read, to several next items at once."""

    def extend(self, items: torch.Tensor, memory: Memory = None) -> tuple[torch.Tensor, Memory]:
        """States [b, s, d] after each of `items` [b, s], which follow those in `memory`; and the memory of
        both.
        """
        ...

    def branch(self, items: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, Memory]:
        """States [b, c, d] after each of `items` [b, c], every one of them the next after `memory`; and what
        `follow` goes on from.
        """
        ...

    def follow(self, memory: Memory, branches: Memory, rows: torch.Tensor, choice: torch.Tensor) -> Memory:
        """The memory of the sequences `rows` [r], each followed by item `choice` [r] of its branches."""
        ...


@runtime_checkable
class BranchingSimulator(Simulator, Protocol):
    """A simulator that a search for paths can run on: it also shows its states, and branches from them."""

    @property
    def model(self) -> BranchingModel:
        """The model behind it."""
        ...

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        ...

    def target_scores(self, states: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log P(target) [r] and rank [r] at `states` [r, d]."""
        ...

    def target_log_prob(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """log P(target) [r] alone, which takes less time."""
        ...


@runtime_checkable
class RankingSimulator(Simulator, Protocol):
    """A simulator that ranks all items, which targets at a percentile of its ranking need."""

    def item_scores(self, history: torch.Tensor) -> torch.Tensor:
        """Scores [b, n] of all items after `history` [b, h], the first column being item 1."""
        ...


@runtime_checkable
class EmbeddingSimulator(RankingSimulator, Protocol):
    """A ranking simulator that also shows its vectors of items and its states; all of the library do.

    An item's score is the inner product of state and vector, to which BERT4Rec adds the item's own bias.
    """

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        ...

    def states(self, items: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """States [b, d] after the first `lengths` [b] of `items` [b, s], which have 0 behind them; after all
        of them where it is None.
        """
        ...


def branching(simulator: Simulator, name: str, needed_by: str) -> BranchingSimulator:
    """`simulator`, called `name`, as one to search on for `needed_by`, a setting.

    Raises `ConfigError` naming the setting where it lacks what the search needs.
    """
    if not isinstance(simulator, BranchingSimulator) or not isinstance(simulator.model, BranchingModel):
        raise _refused(simulator, name, needed_by, "states and branching (BranchingSimulator)")
    return simulator


def ranking(simulator: Simulator, name: str, needed_by: str) -> RankingSimulator:
    """`simulator`, called `name`, as one that ranks all items for `needed_by`, a setting.

    Raises `ConfigError` naming the setting where it does not.
    """
    if not isinstance(simulator, RankingSimulator):
        raise _refused(simulator, name, needed_by, "item_scores (RankingSimulator)")
    return simulator


def vectors_of(simulator: Simulator, name: str, needed_by: str) -> torch.Tensor:
    """The item vectors [n+1, d] of `simulator`, called `name`, row 0 being padding.

    Raises `ConfigError` naming the setting `needed_by` where it has none.
    """
    vectors = getattr(simulator, "vectors", None)
    if vectors is None:
        raise _refused(simulator, name, needed_by, "item `vectors`")
    return vectors


def _refused(simulator: Simulator, name: str, needed_by: str, needed: str) -> ConfigError:
    return ConfigError(
        f"{needed_by}: got simulator {name!r} ({type(simulator).__name__}), allowed: one with {needed}, "
        "see prorl/simulators/protocol.py"
    )
