"""What was shown lately, and what became of it: answers and next steps name it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prorl.bundle.items import Item
from prorl.bundle.paths import GuideRequest
from prorl.offpolicy.outcomes import ACCEPTED, LEFT, REFUSED
from prorl.serving.problems import Problem
from prorl.serving.schemas import Guide


@dataclass(frozen=True)
class Call:
    """A call for paths, its names found.

    had: what the user had when the first call of its chain was made, as far as it counted, and what was
    accepted since; `request.history` is its end. length: the fewest and the most items. user: a keyed hash,
    None where nothing is logged.
    """

    request: GuideRequest
    guide: Guide
    judge: bool
    had: tuple[Item, ...]
    length: tuple[int, int]
    user: str | None


@dataclass
class Shown:
    """A call, its paths as they were shown, and for each path the outcomes that are known, by position."""

    call: Call
    paths: list[tuple[Item, ...]]
    outcomes: list[dict[int, str]] = field(default_factory=list)

    def items_with(self, path: int, outcome: str) -> list[Item]:
        """The items of a path with this `outcome`, in their order."""
        known = self.outcomes[path]
        return [item for place, item in enumerate(self.paths[path]) if known.get(place) == outcome]

    @property
    def accepted(self) -> list[list[Item]]:
        """Accepted items of each path."""
        return [self.items_with(path, ACCEPTED) for path in range(len(self.paths))]

    @property
    def refused(self) -> list[list[Item]]:
        """Refused items of each path."""
        return [self.items_with(path, REFUSED) for path in range(len(self.paths))]


class Remembered:
    """The last `most` requests by id. Safe to use from several threads."""

    def __init__(self, most: int):
        self._most, self._lock = most, threading.Lock()
        self._shown: OrderedDict[str, Shown] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shown)

    def add(self, request_id: str, call: Call, paths: Sequence[tuple[Item, ...]]) -> None:
        """Keep what was shown; the oldest is forgotten where there are too many."""
        with self._lock:
            self._shown[request_id] = Shown(call, list(paths), [{} for _ in paths])
            if len(self._shown) > self._most:
                self._shown.popitem(last=False)

    def find(self, request_id: str, path: int, field: str) -> Shown:
        """What was shown; raises `Problem` for a request that is not known, or a path it does not have."""
        with self._lock:
            return self._find(request_id, path, field)

    def answer(
        self,
        request_id: str,
        path: int,
        position: int | None,
        outcome: str,
        write: Callable[[list[tuple[int, str]]], None],
    ) -> list[str | None]:
        """Keep the `outcome` of the item at `position`, or of all without one, after `write` has had what is
        new; gives the outcomes of all items. The same answer twice is one.

        Raises `Problem` for an item that is not there, and for answers that contradict earlier ones.
        """
        with self._lock:
            shown = self._find(request_id, path, "request_id")
            known, n = shown.outcomes[path], len(shown.paths[path])
            new = _new_outcomes(known, n, position, outcome)
            if new:
                write(new)
                known.update(new)
            return [known.get(place) for place in range(n)]

    def _find(self, request_id: str, path: int, field: str) -> Shown:
        shown = self._shown.get(request_id)
        if shown is None:
            raise Problem(
                404,
                f"{field}: {request_id!r} is not known: the last {self._most} requests are, since the "
                "service started; send history and target instead",
                field,
            )
        if path >= len(shown.paths):
            raise Problem(404, f"path: got {path}, allowed: below {len(shown.paths)}", "path")
        return shown


def _new_outcomes(known: dict[int, str], n: int, position: int | None, outcome: str) -> list[tuple[int, str]]:
    """What an answer adds to the outcomes `known` of a path of `n` items."""
    left = next((place for place, was in known.items() if was == LEFT), None)
    end = n if left is None else left
    if position is None:
        if outcome != LEFT:
            return [(place, outcome) for place in range(end) if place not in known]
        position = max(known, default=-1) + 1 if left is None else left
        if position == n:
            raise Problem(409, "outcome: every item has an answer: none is left to leave at", "outcome")
    if position >= n:
        raise Problem(422, f"position: got {position}, allowed: below {n}", "position")
    if position in known:
        if known[position] != outcome:
            raise Problem(
                409, f"position {position}: it was {known[position]}, and has one outcome", "outcome"
            )
        return []
    if position > end:
        raise Problem(409, f"position {position}: the user left at position {left}", "position")
    if outcome == LEFT and max(known, default=-1) > position:
        raise Problem(409, f"position {position}: an item behind it has an answer", "position")
    return [(position, outcome)]
