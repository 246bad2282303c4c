"""Writes the service's log: JSON lines, appended, a new file from time to time.

A line is one of three kinds. `shown`: an item that was shown, with the probability it was drawn with.
`outcome`: what became of it, written when it is known. `blocked`: items that rules block, once per file,
since the rules of many rows name the same ones. `prorl.serving.log` reads them.

What belongs together is one write at the end of the file: a process that is killed leaves whole lines, and at
most at the very end of its last file a torn one. What was written is forced to the disk when a file is full,
when the service stops, and every `sync_seconds` between, so that a power cut loses no more than that.
"""

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prorl.config.decoding import Decoding

SHOWN, OUTCOME, BLOCKED = "shown", "outcome", "blocked"
KINDS = {
    SHOWN: (
        *("kind", "time", "request_id", "user", "history", "target", "position", "of", "item", "rules"),
        *("acceptance", "temperature", "propensity", "outcome", "model"),
    ),
    OUTCOME: ("kind", "time", "request_id", "position", "outcome"),
    BLOCKED: ("kind", "blocked", "items"),
}


@dataclass(frozen=True)
class Shown:
    """A path as it was shown: its items [t] and their `propensities` [t]; `history` is None where it is not
    to be written; temperature 0 is greedy.
    """

    request_id: str
    user: str
    history: Sequence[int] | None
    target: int
    items: Sequence[int]
    rules: Decoding
    acceptance: float | None
    temperature: float
    propensities: Sequence[float]
    model: str


class Journal:
    """The files of one service in `folder`, which other services may write into too.

    Methods may be called from several threads. They raise `OSError` where the disk takes nothing more; then
    nothing of what was to be written is there.
    """

    def __init__(self, folder: Path, rotate_bytes: int, sync_seconds: float):
        self._folder, self._rotate_bytes, self._sync_seconds = folder, rotate_bytes, sync_seconds
        self._lock = threading.Lock()
        self._name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        self._number, self._file, self._size = 0, -1, 0
        self._synced, self._unsynced = time.monotonic(), False
        self._blocked: set[str] = set()  # digests that the file has
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def show(self, paths: Sequence[Shown]) -> None:
        """Write the rows of paths that are about to be shown, in one write."""
        now = _now()
        with self._lock:
            lines, digests = [], []
            for path in paths:
                rules: dict[str, Any] = path.rules.as_json()
                if path.rules.blocked:
                    digest = _digest(path.rules.blocked)
                    rules["blocked"] = digest
                    if digest not in self._blocked and digest not in digests:
                        digests.append(digest)
                        lines.append({"kind": BLOCKED, "blocked": digest, "items": path.rules.blocked})
                lines += _rows(path, rules, now)
            self._write(lines)
            self._blocked.update(digests)
            self._rotate()

    def answer(self, request_id: str, outcomes: Sequence[tuple[int, str]]) -> None:
        """Write what became of items of a request, by their positions, in one write."""
        now = _now()
        with self._lock:
            self._write(
                [
                    {
                        "kind": OUTCOME,
                        "time": now,
                        "request_id": request_id,
                        "position": p,
                        "outcome": outcome,
                    }
                    for p, outcome in outcomes
                ]
            )
            self._rotate()

    def sync(self) -> None:
        """Force to the disk what is not there yet."""
        with self._lock:
            self._sync()

    def close(self) -> None:
        """Force everything to the disk, and end."""
        with self._lock:
            self._sync()
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._number += 1
        path = self._folder / f"{self._name}-{self._number:05d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size, self._blocked = 0, set()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that a power cut does not lose the file's name
        finally:
            os.close(folder)

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        """One write; where the disk takes only a part of it, none of it stays."""
        text = b"".join(
            json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
            for row in rows
        )
        try:
            written = os.write(self._file, text)
            if written < len(text):
                raise OSError(f"{self._folder}: the disk took {written} of {len(text)} bytes of the log")
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += written
        self._unsynced = True
        if time.monotonic() - self._synced >= self._sync_seconds:
            self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            os.fsync(self._file)
            self._unsynced = False
        self._synced = time.monotonic()

    def _rotate(self) -> None:
        if self._size >= self._rotate_bytes:
            self._sync()
            full = self._file
            self._open()
            os.close(full)


def _rows(path: Shown, rules: dict[str, Any], now: str) -> list[dict[str, Any]]:
    shared = {
        "kind": SHOWN,
        "time": now,
        "request_id": path.request_id,
        "user": path.user,
        "history": None if path.history is None else list(path.history),
        "target": path.target,
        "of": len(path.items),
        "rules": rules,
        "acceptance": path.acceptance,
        "temperature": path.temperature,
        "outcome": None,
        "model": path.model,
    }
    shown = zip(path.items, path.propensities, strict=True)
    rows = [
        shared | {"position": position, "item": item, "propensity": propensity}
        for position, (item, propensity) in enumerate(shown)
    ]
    return [{name: row[name] for name in KINDS[SHOWN]} for row in rows]


def _digest(items: Sequence[int]) -> str:
    return hashlib.sha256(",".join(map(str, items)).encode()).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
