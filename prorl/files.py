"""Files written whole or not at all, and read with errors that name them."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _beside(path: Path) -> Path:
    """A temporary path in the folder of `path`, which is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` if the block ends without error.

    Otherwise the temporary one is removed, and `path` stays as it was.
    """
    temporary = _beside(path)
    try:
        yield temporary
        if Path(path).is_dir():  # a table that was a folder of parts
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, which replaces `path` if the block ends without error.

    Otherwise the temporary one is removed, and `path` stays as it was.
    """
    path, temporary = Path(path), _beside(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys.

    Raises `ValueError` for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises `ValueError` naming the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file at `path`, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
