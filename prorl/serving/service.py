"""What the service does, without HTTP: names are found, paths made in batches, logged, and gone on from."""

import logging
import secrets
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from prorl.bundle.items import Item
from prorl.bundle.paths import GuidedPath, GuideRequest, Judged
from prorl.bundle.policy import ReleasedPolicy
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.extras import need
from prorl.offpolicy.users import keyed_hash
from prorl.serving.batching import Batcher, Batches, Full
from prorl.serving.journal import Journal
from prorl.serving.journal import Shown as Written
from prorl.serving.keys import user_key
from prorl.serving.metrics import Metrics
from prorl.serving.problems import Problem
from prorl.serving.remembered import Call, Remembered, Shown
from prorl.serving.schemas import FeedbackBody, GuideBody
from prorl.serving.settings import Serve

LOGGER = logging.getLogger(__name__)
SEED_BITS = 30  # what keyed draws take without overflow; a seed and a number make 60
SUGGESTED = 5


@dataclass(frozen=True)
class Made:
    """The paths of a call, and what the simulator says of each, where that was asked for and can be had."""

    paths: list[GuidedPath]
    judged: list[Judged] | None


class Service:
    """A released policy that is asked, by many at once; `start` before, `close` after."""

    def __init__(self, policy: ReleasedPolicy, settings: Serve):
        self.policy, self.settings = policy, settings
        self.remembered = Remembered(settings.remembered)
        self.no_simulator = _missing(policy)
        self._journal, self._key = None, None
        if settings.log is not None:
            self._key = user_key(settings.key_file or settings.log.with_name(f"{settings.log.name}.key"))
            self._journal = Journal(settings.log, int(settings.rotate_mb * 1e6), settings.sync_seconds)
        self.metrics = Metrics(
            lambda: self._batcher.waiting,
            {"name": policy.name, "dataset": policy.dataset, "version": policy.version},
        )
        self._batcher: Batcher[Call, Made] = Batcher(
            self._make,
            Batches(settings.batch, settings.batch_wait_ms / 1000, settings.queue, self.metrics.batch_done),
            self._load_simulator,
        )

    def start(self) -> None:
        """Guide once, so that the first caller does not wait for what is made lazily, and begin."""
        first = self.policy.items[1]
        self.policy.guide([first], self.policy.items[len(self.policy.items)])
        self._batcher.start()

    def close(self) -> None:
        """Answer who waits, and end."""
        self._batcher.close()
        if self._journal is not None:
            self._journal.close()

    def sync(self) -> None:
        """Force the log to the disk."""
        if self._journal is not None:
            self._journal.sync()

    def call(self, body: GuideBody) -> Call:
        """What `body` asks for. Raises `Problem` for what is not allowed."""
        self._check_limits(body)
        if body.guide == "search" and self.no_simulator is not None:
            raise Problem(422, f"guide: {self.no_simulator}", "guide")
        if body.guide == "search" and body.n > 1:
            raise Problem(422, f"n: got {body.n}, allowed: 1 for the guide `search`", "n")
        for place, text in enumerate(body.avoid):
            self._check_avoided(text, f"avoid[{place}]")
        user = keyed_hash(body.user, self._key) if body.user is not None and self._key else None
        if body.previous is not None:
            return self._next(body, self.remembered.find(body.previous, body.path, "previous"), user)
        assert body.history is not None, "checked by GuideBody"
        assert body.target is not None, "checked by GuideBody"
        had = [self._find(text, f"history[{place}]") for place, text in enumerate(body.history)]
        target = self._find(body.target, "target")
        counted = tuple(had[-self.policy.history_length :])
        rules = self.policy.rules
        length = _ends(body.length) or (max(1, rules.min_length), rules.max_length)
        return self._call(body, counted, target, length, body.acceptance, frozenset(), user)

    def submit(self, call: Call) -> "Future[Made]":
        """The paths of `call`, when its batch is done. Raises `Problem` where too many wait."""
        try:
            return self._batcher.submit(call)
        except Full as full:
            raise Problem(429, str(full), retry_after=full.retry_after) from None

    def show(self, call: Call, made: Made) -> dict[str, Any]:
        """The answer with the paths, after they are logged. Raises `Problem` where the log takes nothing."""
        request_id = uuid.uuid4().hex
        if self._journal is not None and self._key is not None:
            # Who sends no user is one of its own, for the calls that follow from this one too.
            call = replace(call, user=call.user or keyed_hash(request_id, self._key))
            self._written(lambda journal: journal.show(self._rows(request_id, call, made.paths)))
        self.remembered.add(request_id, call, [path.items for path in made.paths])
        self.metrics.shown.inc(sum(len(path.items) for path in made.paths))
        judged = made.judged or [None] * len(made.paths)
        paths = [_path(path, judge) for path, judge in zip(made.paths, judged, strict=True)]
        return {
            "request_id": request_id,
            "model": self.policy.version,
            "guide": call.guide,
            "acceptance": call.request.acceptance,
            "temperature": call.request.temperature or 0.0,
            "history": [item.as_dict() for item in call.request.history],
            "target": call.request.target.as_dict(),
            "paths": paths,
            "note": self.no_simulator if call.judge and made.judged is None else None,
        }

    def answer(self, body: FeedbackBody) -> dict[str, Any]:
        """Keep, and log, what became of something shown. Raises `Problem`."""
        name = _path_id(body.request_id, body.path)

        def write(new: list[tuple[int, str]]) -> None:
            self._written(lambda journal: journal.answer(name, new))
            self.metrics.answers.labels(body.outcome).inc(len(new))

        outcomes = self.remembered.answer(body.request_id, body.path, body.position, body.outcome, write)
        return {"request_id": body.request_id, "path": body.path, "outcomes": outcomes}

    def _written(self, write: Callable[[Journal], None]) -> None:
        """Write to the log, where there is one; what cannot be logged does not happen."""
        if self._journal is None:
            return
        try:
            write(self._journal)
        except OSError as error:
            LOGGER.error("the log cannot be written: %s", error)
            self.metrics.errors.labels("log").inc()
            raise Problem(
                503, "the log cannot be written, so nothing is shown or kept", retry_after=10
            ) from None

    def _check_limits(self, body: GuideBody) -> None:
        limits = (
            ("history", len(body.history or ()), self.settings.max_history),
            ("avoid", len(body.avoid), self.settings.max_avoid),
            ("n", body.n, self.settings.max_paths),
        )
        for field, found, most in limits:
            if found > most:
                raise Problem(422, f"{field}: got {found}, allowed: at most {most}", field)

    def _find(self, text: str, field: str) -> Item:
        """The item called `text`; the `Problem` of an unknown one has suggestions."""
        try:
            return self.policy.items.find(text)
        except DataError as error:
            near = self.policy.items.search(text, SUGGESTED) if text.strip() else []
            raise Problem(422, f"{field}: {error}", field, near) from None

    def _check_avoided(self, text: str, field: str) -> None:
        if text.strip().casefold() not in {name.casefold() for name in self.policy.items.with_attribute}:
            self._find(text, field)

    def _next(self, body: GuideBody, shown: Shown, user: str | None) -> Call:
        """The call that goes on from a path: its accepted items belong to the history, its refused ones are
        avoided, and the path is shorter by what was accepted.
        """
        before = shown.call
        accepted, refused = shown.accepted[body.path], shown.refused[body.path]
        least, most = before.length[0] - len(accepted), before.length[1] - len(accepted)
        if most < 1 or before.request.target in accepted:
            raise Problem(409, "previous: the path is over: nothing is left of it to guide along", "previous")
        had = (*before.had, *accepted)
        avoid = before.request.avoid | {item.item for item in refused}
        if "history" in self.policy.rules.forbid:  # also what no longer counts, as in a path that goes on
            avoid |= {item.item for item in had[: -self.policy.history_length]}
        length = _ends(body.length) or (max(1, least), most)
        acceptance = before.request.acceptance if body.acceptance is None else body.acceptance
        return self._call(body, had, before.request.target, length, acceptance, avoid, user or before.user)

    def _call(
        self,
        body: GuideBody,
        had: tuple[Item, ...],
        target: Item,
        length: tuple[int, int],
        acceptance: float | None,
        avoid: frozenset[int],
        user: str | None,
    ) -> Call:
        """The call, its settings checked; explored paths are drawn anew at every call."""
        samples = body.guide == "policy"
        try:
            request = self.policy.request(
                had,
                target,
                length=length,
                avoid=body.avoid,
                acceptance=acceptance,
                n=body.n,
                temperature=self.settings.explore if samples else None,
            )
        except (ConfigError, DataError) as error:
            raise Problem(422, str(error), str(error).split(":")[0]) from None
        request = replace(request, avoid=request.avoid | avoid)
        if self.settings.explore is not None:
            seed, number = secrets.randbits(SEED_BITS), secrets.randbits(SEED_BITS)
            request = replace(request, seed=seed, number=number)
        return Call(request, body.guide, body.judge, had, length, user)

    def _rows(self, request_id: str, call: Call, paths: Sequence[GuidedPath]) -> list[Written]:
        request = call.request
        model = self.policy.version if call.guide == "policy" else f"{call.guide}:{self.policy.version}"
        assert call.user is not None, "set by `show`"
        return [
            Written(
                request_id=_path_id(request_id, number),
                user=call.user,
                history=[item.item for item in path.history] if self.settings.log_histories else None,
                target=request.target.item,
                items=[item.item for item in path.items],
                rules=self.policy.catalogue_of(request).decoding,
                acceptance=request.acceptance,
                temperature=request.temperature or 0.0,
                propensities=[min(p, 1.0) for p in path.propensities],  # rounding may leave them above
                model=model,
            )
            for number, path in enumerate(paths)
        ]

    def _make(self, calls: Sequence[Call]) -> list[Made | Exception]:
        """The paths of one batch."""
        made: dict[int, list[GuidedPath] | Exception] = {}
        own = [place for place, call in enumerate(calls) if call.guide == "policy"]
        made.update(_each(self.policy.guide_each, calls, own))
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
        found: Any = self.policy.search(
            [request.history for request in requests],
            [request.target for request in requests],
            length=first.length,
            avoid=[self.policy.items[number] for number in sorted(first.avoid)],
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
            if calls[place].judge and self.no_simulator is None and not isinstance(paths, Exception)
        ]
        judged = iter(self.policy.judged([path for _, paths in wanted for path in paths]) if wanted else ())
        of_calls = {place: [next(judged) for _ in paths] for place, paths in wanted}
        return [
            paths if isinstance(paths, Exception) else Made(paths, of_calls.get(place))
            for place, paths in enumerate(made)
        ]

    def _load_simulator(self) -> None:
        """Judge once, so that no caller waits for the simulator to be loaded."""
        if self.no_simulator is not None:
            return
        first, last = self.policy.items[1], self.policy.items[len(self.policy.items)]
        path = self.policy.guide_each([self.policy.request([first], last)])[0][0]
        try:
            self.policy.judged([path])
        except Exception as error:  # guiding goes on without it, and everybody who asks is told
            LOGGER.exception("the simulator cannot be used")
            self.no_simulator = f"the simulator cannot be used: {error}"


def _missing(policy: ReleasedPolicy) -> str | None:
    """What keeps `policy` from judging and searching; None: nothing."""
    if not policy.has_simulator:
        return "this policy was released without a simulator, which judging and searching need"
    try:
        need("pipeline", "judging and searching")
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


def _ends(length: int | list[int] | None) -> tuple[int, int] | None:
    return (length, length) if isinstance(length, int) else None if length is None else (length[0], length[1])


def _path_id(request_id: str, path: int) -> str:
    """What the log calls a path of a request."""
    return f"{request_id}.{path}"


def _path(path: GuidedPath, judged: Judged | None) -> dict[str, Any]:
    whole = path.as_dict()
    return {
        "items": whole["items"],
        "stop_propensity": whole["stop_propensity"],
        "judged": None if judged is None else judged.as_dict(),
    }
