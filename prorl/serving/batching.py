"""Requests that arrive together become one batch."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
LOGGER = logging.getLogger(__name__)


class Full(Exception):
    """No further request may wait; `retry_after`: in how many seconds there may be room."""

    def __init__(self, retry_after: int):
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Batches:
    """How batches are made: of at most `size` jobs, the first of which waits `wait_seconds` for others, while
    at most `queue` jobs wait. `done(size, seconds)` is told of each.
    """

    size: int
    wait_seconds: float
    queue: int
    done: Callable[[int, float], None]


class Batcher(Generic[Job, Result]):
    """One thread that computes jobs, as many at a time as wait.

    compute(jobs): a result or an error for each job. `prepare()` runs first, in the same thread.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        batches: Batches,
        prepare: Callable[[], None] = lambda: None,
    ):
        self._compute, self._batches, self._prepare = compute, batches, prepare
        self._queue: queue.Queue[tuple[Job, Future[Result]] | None] = queue.Queue()
        self._lock, self._closed = threading.Lock(), False
        self._seconds = 0.0  # of a batch, a running mean
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._queue.qsize()

    def submit(self, job: Job) -> "Future[Result]":
        """The result that `job` will have. A future that is cancelled before its batch begins costs nothing.

        Raises `Full` where too many wait, or the service stops.
        """
        future: Future[Result] = Future()
        with self._lock:  # so that nothing is put behind the end
            if self._closed or self.waiting >= self._batches.queue:
                raise Full(max(1, math.ceil(self._seconds * (1 + self.waiting / self._batches.size))))
            self._queue.put((job, future))
        return future

    def close(self) -> None:
        """Compute what waits, and end."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._prepare()
        while True:
            jobs, is_last = self._collect()
            jobs = [(job, future) for job, future in jobs if future.set_running_or_notify_cancel()]
            if jobs:
                self._answer(jobs)
            if is_last:
                return

    def _collect(self) -> tuple[list[tuple[Job, "Future[Result]"]], bool]:
        """The jobs of the next batch, and whether it is the last one."""
        first = self._queue.get()
        if first is None:
            return [], True
        jobs, until = [first], time.monotonic() + self._batches.wait_seconds
        while len(jobs) < self._batches.size:
            try:
                left = until - time.monotonic()
                following = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return jobs, True
            jobs.append(following)
        return jobs, False

    def _answer(self, jobs: list[tuple[Job, "Future[Result]"]]) -> None:
        started = time.perf_counter()
        results: Sequence[Any]
        try:
            results = self._compute([job for job, _ in jobs])
        except Exception as error:  # told to everybody who waits; the thread must go on for those to come
            LOGGER.exception("a batch of %d requests failed", len(jobs))
            results = [error] * len(jobs)
        seconds = time.perf_counter() - started
        self._seconds = 0.8 * self._seconds + 0.2 * seconds if self._seconds else seconds
        self._batches.done(len(jobs), seconds)
        for (_, future), result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
