"""The paths of a batch of calls, and what the simulator says of them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prorl.bundle.paths import GuidedPath, GuideRequest, Judged
from prorl.bundle.policy import ReleasedPolicy
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.extras import need_recbole
from prorl.serving.problems import Problem
from prorl.serving.remembered import Call

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """The paths of a call, and what the simulator says of each, where that was asked for and can be had."""

    paths: list[GuidedPath]
    judged: list[Judged] | None


class Maker:
    """Makes paths with `policy`. no_judging, no_search: what keeps it from that, None: nothing."""

    def __init__(self, policy: ReleasedPolicy):
        self._policy = policy
        self.no_judging = self.no_search = _missing(policy)

    def load_simulator(self) -> None:
        """Judge and search once, so that no caller waits for the simulator to be loaded.

        Where that fails, guiding goes on without, and everybody who asks is told why.
        """
        if self.no_judging is not None:
            return
        items = self._policy.items
        request = self._policy.request([items[1]], items[len(items)])
        try:
            self._policy.judged(self._policy.guide_each([request])[0])
        except Exception as error:
            LOGGER.exception("paths cannot be judged")
            self.no_judging = f"paths cannot be judged: {error}"
        try:
            self._search([request])
        except Exception as error:
            LOGGER.exception("there is no search")
            self.no_search = f"there is no search: {error}"

    def make(self, calls: Sequence[Call]) -> list[Made | Exception]:
        """The paths of each of `calls`, or why there are none."""
        made: dict[int, list[GuidedPath] | Exception] = {}
        own = [place for place, call in enumerate(calls) if call.guide == "policy"]
        made.update(_each(self._policy.guide_each, calls, own))
        alike: dict[tuple, list[int]] = defaultdict(list)
        for place, call in enumerate(calls):
            if call.guide == "search":
                request = call.request
                alike[request.length, request.avoid, request.acceptance].append(place)
        for places in alike.values():
            made.update(_each(self._search, calls, places))
        return self._judged(calls, [made[place] for place in range(len(calls))])

    def _search(self, requests: Sequence[GuideRequest]) -> list[list[GuidedPath]]:
        """The search guide's paths for requests of the same settings."""
        first = requests[0]
        found: Any = self._policy.search(
            [request.history for request in requests],
            [request.target for request in requests],
            length=first.length,
            avoid=[self._policy.items[number] for number in sorted(first.avoid)],
            acceptance=first.acceptance,
        )
        return found

    def _judged(
        self, calls: Sequence[Call], made: Sequence[list[GuidedPath] | Exception]
    ) -> list[Made | Exception]:
        """The same paths, judged together where their calls ask for it."""
        wanted = [
            (place, paths)
            for place, paths in enumerate(made)
            if calls[place].judge and self.no_judging is None and not isinstance(paths, Exception)
        ]
        judged = iter(self._policy.judged([path for _, paths in wanted for path in paths]) if wanted else ())
        of_calls = {place: [next(judged) for _ in paths] for place, paths in wanted}
        return [
            paths if isinstance(paths, Exception) else Made(paths, of_calls.get(place))
            for place, paths in enumerate(made)
        ]


def _missing(policy: ReleasedPolicy) -> str | None:
    """What keeps `policy` from judging and searching; None: nothing."""
    if not policy.has_simulator:
        return "this policy was released without a simulator, which judging and searching need"
    try:
        need_recbole("judging and searching")
    except ConfigError as error:
        return str(error)
    return None


def _each(
    make: Callable[[Sequence[GuideRequest]], Sequence[list[GuidedPath]]],
    calls: Sequence[Call],
    places: Sequence[int],
) -> dict[int, list[GuidedPath] | Exception]:
    """The paths of the calls at `places`, made together; where one of them cannot be, each by itself, so that
    it spoils no other.
    """
    if not places:
        return {}
    try:
        found = make([calls[place].request for place in places])
    except (ConfigError, DataError) as error:
        if len(places) == 1:
            return {places[0]: Problem(422, str(error))}
        return {place: paths for single in places for place, paths in _each(make, calls, [single]).items()}
    return dict(zip(places, found, strict=True))
