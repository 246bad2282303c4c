"""Files written whole or not at all, and read with errors that name them."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED = re.compile(r"\..+\.([0-9]+)\.partial", re.DOTALL)  # as `_beside` names it


def _beside(path: Path) -> Path:
    """A temporary path in the folder of `path`, which is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Remove, below `folders`, the temporary files and folders of processes of this machine that run no more,
    and of this one: so it is called before anything is written.
    """
    for folder in folders:
        for parent, names, files in os.walk(folder):
            for name in [*names, *files]:
                writer = UNFINISHED.fullmatch(name)
                if writer is None or _runs(int(writer[1])):
                    continue
                path = Path(parent, name)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether another process of that number runs."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # that of another user
        return True
    return True


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

    Otherwise the temporary one is removed, and `path` stays as it was. Where the process is killed while it
    replaces, `path` is the old folder, or the new one, or not there.
    """
    path, temporary = Path(path), _beside(path)
    old = _beside(path.with_name(f"{path.name}.old"))
    for folder in (temporary, old):
        shutil.rmtree(folder, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir():
            os.replace(path, old)  # whole, since removing it takes time
        else:
            path.unlink(missing_ok=True)
        os.replace(temporary, path)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys.

    Raises `ValueError` for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises `ValueError` naming the file if it is not JSON."""
    return _json_in(path, None)


def read_unrepeated_json(path: Path) -> Any:
    """`read_json`, which also raises `ValueError` for an object that has a key twice: the first value would
    be lost.
    """
    return _json_in(path, unrepeated)


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of `pairs`, as `json.loads` has them. Raises `ValueError` for a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice!r} stands more than once in one object")
    return found


def _json_in(path: Path, of_pairs: Callable[[list[tuple[str, Any]]], Any] | None) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=of_pairs)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number or nesting beyond Python's
        raise ValueError(f"{path}: not JSON: {error}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file at `path`, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
