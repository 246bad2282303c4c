"""Files from outside the repository that settings name, and their checksums, which stages depend on.

DVC knows such a file by its path in params.yaml alone. The stage `inputs` therefore writes, for every stage
that reads one, a JSON of the names of its files, as params.yaml has them, and their SHA-256.
"""

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from prorl.config.causal import CausalSection
from prorl.config.embed import Embed
from prorl.config.fetch import Fetch
from prorl.config.guide import Guide
from prorl.config.prepare import Prepare
from prorl.errors import DataError
from prorl.files import read_json, sha256_of, write_json
from prorl.registries import names_object


@dataclass(frozen=True)
class Outside:
    """A file or folder that a setting names.

    `name` is what is recorded, `path` where it lies, None where it is not found; `only`, the names of those
    files of a folder that are read, None for all. One that is `optional` may be missing: the setting then
    means something else.
    """

    name: str
    path: Path | None
    only: tuple[str, ...] | None = None
    optional: bool = False


def of_fetch(dataset: str, settings: Fetch, archives: Path | None) -> list[Outside]:
    """What `fetch` reads: the settings' files or archive, or what the folder `archives` (PRORL_ARCHIVES) has.

    Where that folder is gone or holds several, none is found: the stage `fetch` refuses both, if it runs.
    Raises `ConfigError` for an unknown source.
    """
    if settings.files:
        return of_files(settings.files.interactions, settings.files.items)
    if not settings.archive and archives is None:
        return [Outside("PRORL_ARCHIVES", None, optional=True)]
    from prorl.datasets import DATASETS  # imports pandas, and most runs need neither
    from prorl.datasets.archives import find_archive
    from prorl.datasets.fetching import source_name

    files = DATASETS[source_name(dataset, settings.source)].files
    only = tuple(name for names in files for name in names)
    if settings.archive:
        return [Outside(settings.archive, Path(settings.archive), only)]
    found = None
    if archives is not None:
        with contextlib.suppress(DataError):  # for the stage `fetch` to tell
            found = find_archive(dataset, files, archives)
    return [Outside("PRORL_ARCHIVES", found, only, optional=True)]


def of_prepare(settings: Prepare) -> list[Outside]:
    """Texts made elsewhere, and the files of the released instances whose split of users is taken."""
    return [*of_files(settings.profiles), *of_released(settings.split_from)]


def of_released(start: str | None) -> list[Outside]:
    """The files of released instances with this `start`; null names none."""
    if start is None:
        return []
    from prorl.paths.released_files import released_files  # as above

    return of_files(*map(str, released_files(start)))


def of_embed(settings: Embed) -> list[Outside]:
    """The imported vectors and their items, or the folder of the language model."""
    if settings.import_ is not None:
        return of_files(settings.import_.vectors, settings.import_.items)
    return [Outside(settings.model, Path(settings.model), optional=True)]  # or a name, such as lsa


def of_causal(settings: CausalSection, dataset: str) -> list[Outside]:
    """The folder or file of a causal language model, where it is asked for `dataset`."""
    if dataset not in settings.datasets:
        return []
    return [Outside(settings.model, Path(settings.model), optional=True)]  # or a name


def of_guides(section: Guide, names: list[str]) -> list[Outside]:
    """What the settings of the guides `names` name: folders and files by `path`, a folder or file that may be
    the `model`, and `module:attribute`.
    """
    settings = [section.named[name] for name in names if name in section.named]
    models = [str(own["model"]) for own in settings if "model" in own]
    return [
        *of_files(*(own.get("path") for own in settings)),
        *(Outside(model, Path(model), optional=True) for model in models),
        *of_objects(*settings),
    ]


def of_objects(*values: Any) -> list[Outside]:
    """The files of all `module:Class` among keys and values of `values`, by name, each once."""
    return [Outside(name, module_file(name.partition(":")[0])) for name in sorted(set(_objects(values)))]


def of_files(*names: str | None) -> list[Outside]:
    """Files and folders that settings name; null names none."""
    return [Outside(name, Path(name)) for name in names if name is not None]


def _objects(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if names_object(value):
            yield value
    elif isinstance(value, dict):
        yield from _objects([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _objects(part)


def module_file(name: str) -> Path | None:
    """The file of the module `name`, found without importing it or its packages; None where there is none.

    The working folder may hold it, as it may where the module is imported.
    """
    parts = name.split(".")
    try:
        spec = importlib.util.find_spec(parts[0]) or PathFinder.find_spec(parts[0], [str(Path.cwd())])
    except ValueError:  # `__main__` has no spec, and neither has the empty part of a relative name
        return None
    for depth in range(2, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:depth]), list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


class Checksums:
    """SHA-256 of files and folders. Those of files whose size and time of change are still what the file
    `cache` says are taken from there.
    """

    def __init__(self, cache: Path):
        self._cache = cache
        self._known: dict[str, list] = read_json(cache) if cache.exists() else {}
        self._asked: dict[str, list] = {}

    def of(self, outside: Outside) -> str | None:
        """The checksum of a file, or one of all names and files of a folder; None where there is neither."""
        path = outside.path
        if path is None or not path.exists():
            return None
        if path.is_file():
            return self._of_file(path)
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        read = sorted(name for name in files if outside.only is None or name in outside.only)
        lines = (f"{self._of_file(files[name])} {name}\n" for name in read)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _of_file(self, file: Path) -> str:
        key, found = os.path.abspath(file), file.stat()
        size, time, checksum = self._known.get(key, (None, None, None))
        if (size, time) != (found.st_size, found.st_mtime_ns):
            checksum = sha256_of(file)
        self._asked[key] = [found.st_size, found.st_mtime_ns, checksum]
        return str(checksum)

    def save(self) -> None:
        """Keep what was asked for, and nothing older."""
        if self._asked != self._known:
            write_json(self._cache, self._asked)


def record(path: Path, outsides: list[Outside], checksums: Checksums) -> None:
    """Write names and checksums of `outsides` into the JSON `path`, unless it holds them already.

    One that is absent keeps the checksum that `path` has of it, with a warning on standard error; without one
    it is recorded as null, for the stage itself to refuse.
    """
    recorded = read_json(path) if path.exists() else None
    found = {}
    for outside in outsides:
        checksum = checksums.of(outside)
        if checksum is None and (checksum := (recorded or {}).get(outside.name)):
            print(f"{path}: {outside.name} is absent; its recorded checksum stays", file=sys.stderr)
        if checksum is not None or not outside.optional:
            found[outside.name] = checksum
    if found != recorded:
        write_json(path, found)


def remove_others(folder: Path, names: Container[str]) -> None:
    """Remove the JSON files of `folder` that are not named after one of `names`."""
    for path in folder.glob("*.json"):
        if path.stem not in names:
            path.unlink()


def state_of(files: Iterable[Path]) -> str:
    """A digest of the paths, sizes and times of `files`, which must exist: equal where none has changed."""
    stats = ((str(file), file.stat()) for file in sorted(files))
    return hashlib.sha256(repr([(p, s.st_size, s.st_mtime_ns) for p, s in stats]).encode()).hexdigest()
