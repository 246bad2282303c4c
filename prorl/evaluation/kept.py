"""What was computed before, found again by all that it was made from: files in `.cache/`, each named after a
digest of its inputs, settings and code. Nothing is lost but time where they are removed.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prorl.files import atomic_file, read_json, sha256_of, write_json


def digest(*parts: Any) -> str:
    """A digest of `parts`: a `Path` counts by the content of the file, or of all files of the folder and
    their names in it; an array by its bytes; lists and tuples by their parts; all else by its `repr`.
    """
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{type(part).__name__} {_of(part)}\n".encode())
    return found.hexdigest()[:32]


def _of(part: Any) -> str:
    if isinstance(part, Path):
        if part.is_dir():
            files = sorted(path for path in part.rglob("*") if path.is_file())
            return " ".join(f"{path.relative_to(part)} {sha256_of(path)}" for path in files)
        return sha256_of(part)
    if isinstance(part, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
        return f"{part.shape} {part.dtype} {content}"
    if isinstance(part, list | tuple):
        return digest(*part)
    return repr(part)


@dataclass(frozen=True)
class Store:
    """Results below `folder`, by label and digest."""

    folder: Path

    def arrays(
        self, label: str, key: str, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays that `compute` gives, or gave before under the same `key`."""
        path = self.folder / f"{label}-{key}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        found = compute()
        with atomic_file(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, allow_pickle=False, **found)
        return found

    def resumed(
        self, label: str, key: str, compute: "Callable[[Parts], dict[str, np.ndarray]]"
    ) -> dict[str, np.ndarray]:
        """`arrays`, whose parts are kept while `compute` is under way: where it was killed, it goes on."""
        parts = Parts(self.folder / f"{label}-{key}.parts.npz")
        try:
            found = self.arrays(label, key, lambda: compute(parts))
        except (SystemExit, KeyboardInterrupt):
            parts.save()
            raise
        parts.remove()
        return found

    def json(self, label: str, key: str, compute: Callable[[], Any]) -> Any:
        """The same for what JSON holds."""
        path = self.folder / f"{label}-{key}.json"
        if not path.exists():
            write_json(path, compute())
        return read_json(path)


@dataclass
class Parts:
    """Parts of a result under way, by name: found again in the file `path`, where they are kept every
    `every_seconds`. Without `path` they are not kept.
    """

    path: Path | None = None
    every_seconds: float = 15.0

    def __post_init__(self):
        self._found: dict[str, np.ndarray] = {}
        self._saved, self._is_new = time.monotonic(), False
        if self.path is not None and self.path.exists():
            with np.load(self.path, allow_pickle=False) as stored:
                self._found = {name: stored[name] for name in stored.files}

    def arrays(self, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays that `compute` gives, or gave before under `name`."""
        start = f"{name}#"
        known = {key.removeprefix(start): own for key, own in self._found.items() if key.startswith(start)}
        if known or self.path is None:
            return known or compute()
        found = compute()
        self._found |= {f"{start}{key}": own for key, own in found.items()}
        self._is_new = True
        if time.monotonic() - self._saved >= self.every_seconds:
            self.save()
        return found

    def save(self) -> None:
        """Keep what there is."""
        if self.path is not None and self._is_new:
            with atomic_file(self.path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, allow_pickle=False, **self._found)
            self._saved, self._is_new = time.monotonic(), False

    def remove(self) -> None:
        """Forget the parts, once the whole is kept."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
