"""What the service does, without HTTP: names are found, paths made in batches, logged, and gone on from."""

import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from prorl.bundle.paths import GuidedPath, Judged
from prorl.bundle.policy import ReleasedPolicy
from prorl.config.section import ConfigError
from prorl.offpolicy.users import keyed_hash
from prorl.serving.batching import Batcher, Batches, Full
from prorl.serving.calls import Calls
from prorl.serving.journal import Journal
from prorl.serving.journal import Shown as Written
from prorl.serving.keys import user_key
from prorl.serving.making import Made, Maker
from prorl.serving.metrics import Metrics
from prorl.serving.problems import Problem
from prorl.serving.remembered import Call, Remembered
from prorl.serving.schemas import FeedbackBody, GuideBody
from prorl.serving.settings import Serve

LOGGER = logging.getLogger(__name__)


class Service:
    """A released policy that is asked, by many at once; `start` before, `close` after.

    Raises `ConfigError` for a log that cannot be written, and for a key of users' hashes that is none.
    """

    def __init__(self, policy: ReleasedPolicy, settings: Serve):
        self.policy, self.settings = policy, settings
        self.remembered = Remembered(settings.remembered)
        self.maker = Maker(policy)
        self._journal, self._key = None, None
        if settings.log is not None:
            self._key = user_key(settings.key_file or Path(f"{settings.log.resolve()}.key"))
            self._journal = _journal(settings.log, settings)
        self._calls = Calls(policy, settings, self.remembered, self._key)
        self.metrics = Metrics(
            lambda: self._batcher.waiting,
            {"name": policy.name, "dataset": policy.dataset, "version": policy.version},
        )
        self._batcher: Batcher[Call, Made] = Batcher(
            self.maker.make,
            Batches(settings.batch, settings.batch_wait_ms / 1000, settings.queue, self.metrics.batch_done),
            self.maker.load_simulator,
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
        if body.guide == "search" and self.maker.no_search is not None:
            raise Problem(422, f"guide: {self.maker.no_search}", "guide")
        return self._calls.of(body)

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
            "note": self.maker.no_judging if call.judge and made.judged is None else None,
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


def _journal(folder: Path, settings: Serve) -> Journal:
    try:
        return Journal(folder, int(settings.rotate_mb * 1e6), settings.sync_seconds)
    except OSError as error:
        raise ConfigError(f"serve.log: {folder}: {error}, allowed: a folder that can be written") from None


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
