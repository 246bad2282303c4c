"""What was computed before, found again by all that it was made from: files in `.cache/`, each named after a
digest of its inputs, settings and code. Nothing is lost but time where they are removed.
"""

import hashlib
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

    def json(self, label: str, key: str, compute: Callable[[], Any]) -> Any:
        """The same for what JSON holds."""
        path = self.folder / f"{label}-{key}.json"
        if not path.exists():
            write_json(path, compute())
        return read_json(path)
