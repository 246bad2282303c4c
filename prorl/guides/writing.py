"""Writing paths item by item: what the rules allow, and a simulator that reads along.

A path goes on to the longest length, unless the target may be shown and is: then it ends there, once it is
long enough. It also ends where nothing is allowed any more.

Shape key: `b` prompts, `h` history, `t` path position, `l` items of a list, `n` items, `d` simulator state.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.guides.forbidden import forbidden_at_start
from prorl.prompts import Prompts
from prorl.simulators.protocol import (
    BranchingModel,
    BranchingSimulator,
    Memory,
    RankingSimulator,
    Simulator,
    ranking,
)

SCORES_AT_ONCE = 2**20  # prompts times items that are weighed at once: 4 MiB of float32
PROMPTS_AT_ONCE = 256  # of few items


def batches(prompts: Prompts, n_items: int) -> Iterator[Prompts]:
    """`prompts` in parts for which the scores of all items are held at once."""
    size = max(1, min(PROMPTS_AT_ONCE, SCORES_AT_ONCE // (n_items + 1)))
    for first in range(0, len(prompts), size):
        yield prompts[first : first + size]


@dataclass
class Unfinished:
    """Paths under way: path [b, t] so far, 0 behind its end; which items are closed [b, n+1] to its next
    step; and which paths go on, running [b]. What is said of a path that does not go on has no meaning.
    """

    prompts: Prompts
    path: torch.Tensor
    closed: torch.Tensor
    running: torch.Tensor


@torch.no_grad()
def step_by_step(
    prompts: Prompts,
    decoding: Decoding,
    n_items: int,
    worth: Callable[[Unfinished], torch.Tensor],
    also: Collection[str] = (),
) -> torch.Tensor:
    """Paths [b, t] of the items that are `worth` [b, n+1] most among those open at each step; the worth of
    closed ones does not matter.

    `also`: rules that a guide keeps beside those of `decoding`, `repeats` or `history`. Raises `DataError`
    where too few items are open for the shortest path.
    """
    forbid = {*decoding.forbid, *also}
    b, device = len(prompts), prompts.target.device
    path = torch.zeros(b, decoding.max_length, dtype=torch.int64, device=device)
    closed = forbidden_at_start(prompts.history, prompts.target, n_items, decoding, also)
    running = torch.ones(b, dtype=torch.bool, device=device)
    for t in range(decoding.max_length):
        stuck = closed.all(1) & running
        if t < decoding.min_length:
            _refuse_too_short(prompts, stuck, t, decoding)
        running &= ~stuck
        if not running.any():
            break
        values = worth(Unfinished(prompts, path[:, :t], closed, running))
        item = values.masked_fill(closed, -torch.inf).argmax(1)
        path[:, t] = item.masked_fill(~running, 0)
        if "repeats" in forbid:
            closed.scatter_(1, path[:, t : t + 1], True)  # padding is closed anyway
        if t + 1 >= decoding.min_length:
            running &= item != prompts.target
    return path


def packed(prompts: Prompts, items: torch.Tensor, kept: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Paths [b, t] of those of `items` [b, l] that are `kept` [b, l], in their order, up to the longest
    length; a path that is long enough ends with the target.

    Raises `DataError` where fewer are kept than the shortest path has.
    """
    kept = kept & (kept.cumsum(1) <= decoding.max_length)
    target = kept & (items == prompts.target[:, None]) & (kept.cumsum(1) >= decoding.min_length)
    kept = kept & (target.cumsum(1) - target.long() == 0)
    n_kept = kept.sum(1)
    short = n_kept < decoding.min_length
    _refuse_too_short(prompts, short, int(n_kept.min()) if len(prompts) else 0, decoding)
    order = (~kept).to(torch.int8).argsort(dim=1, stable=True)[:, : decoding.max_length]
    path = (items * kept).gather(1, order)
    return F.pad(path, (0, decoding.max_length - path.shape[1]))


def _refuse_too_short(prompts: Prompts, short: torch.Tensor, length: int, decoding: Decoding) -> None:
    if short.any():
        number = int(prompts.number[short][0])
        raise DataError(
            f"prompt {number}: the rules leave items for a path of {length}, allowed: at least "
            f"decoding.min_length, {decoding.min_length}"
        )


def causal(simulator: Simulator) -> bool:
    """Whether `simulator` shows its states and goes on from what it has read."""
    return isinstance(simulator, BranchingSimulator) and isinstance(simulator.model, BranchingModel)


@dataclass
class States:
    """The states of a causal simulator along paths: each item is read once."""

    simulator: BranchingSimulator
    _memory: Memory = field(default=None, init=False)

    def after(self, unfinished: Unfinished) -> torch.Tensor:
        """The state [b, d] after what is shown so far; to be asked for at every step."""
        path = unfinished.path
        items = path[:, -1:] if path.shape[1] else unfinished.prompts.history
        states, self._memory = self.simulator.model.extend(items, self._memory)
        return states[:, -1]


@dataclass
class ItemScores:
    """The scores of all items along paths: of a causal simulator from its states, else by reading each prefix
    anew.
    """

    simulator: RankingSimulator | BranchingSimulator
    _states: States | None = field(default=None, init=False)

    def __post_init__(self):
        if isinstance(self.simulator, BranchingSimulator) and causal(self.simulator):
            self._states = States(self.simulator)

    def after(self, unfinished: Unfinished) -> torch.Tensor:
        """The scores [b, n+1] after what is shown so far, those of padding being of no meaning; to be asked
        for at every step.
        """
        if self._states is not None:
            return self._states.after(unfinished) @ self._states.simulator.vectors.T
        rows = unfinished.running.nonzero()[:, 0]
        read = torch.cat([unfinished.prompts.history, unfinished.path], dim=1)[rows]
        own = self.simulator.item_scores(read)  # pyright: ignore[reportAttributeAccessIssue]
        scores = own.new_zeros(unfinished.closed.shape)
        scores[rows, 1:] = own
        return scores


def scoring(simulator: Simulator, name: str, needed_by: str) -> RankingSimulator | BranchingSimulator:
    """`simulator`, called `name`, as one whose `ItemScores` the setting `needed_by` needs.

    Raises `ConfigError` naming the setting where it shows no scores.
    """
    return simulator if causal(simulator) else ranking(simulator, name, needed_by)  # pyright: ignore[reportReturnType]


def states_read(simulator: Simulator, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
    """How many states [b] a simulator that reads along computed for each of `paths` [b, t].

    A causal one reads history and path once, but for the last item; any other reads every prefix anew.
    """
    h, length = prompts.history.shape[1], (paths != 0).sum(1)
    if causal(simulator):
        return torch.where(length > 0, h + length - 1, 0)
    return length * h + length * (length - 1) // 2
