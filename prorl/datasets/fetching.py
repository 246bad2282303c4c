"""Raw files into one folder per data set: from an installed package, a local archive or the publisher, each checked."""

import importlib.util
import shutil
from pathlib import Path

from prorl.config import ConfigError, Fetch
from prorl.datasets import DATASETS
from prorl.datasets.archives import find_archive, take_files
from prorl.datasets.sources import Source
from prorl.files import atomic_folder, read_json, sha256_of, write_json
from prorl.tables import DataError

RECORD = "fetched.json"  # beside the raw files: their source, and where they came from


def source_name(dataset: str, source: str | None) -> str:
    """The source of `dataset`: `source`, or the one named like the data set. Raises `ConfigError` if there is none."""
    name = source or dataset
    if name not in DATASETS:
        raise ConfigError(f"fetch.{dataset}.source: data set {dataset!r} has source {name!r}, allowed: {', '.join(DATASETS)}")
    return name


def fetch(dataset: str, settings: Fetch, folder: Path, archives: Path | None, every_seconds: float) -> None:
    """Fill `folder` with the raw files of `dataset` and a record of where they came from, wholly or not at all.

    They come from `settings.archive`; without it from what the folder `archives` holds of the data set; without that from the
    source's own place. Raises `ConfigError` for an unknown source and `DataError` for a missing file or a checksum that differs.
    """
    name = source_name(dataset, settings.source)
    source = DATASETS[name]
    archive = Path(settings.archive) if settings.archive else archives and find_archive(dataset, source.files, archives)
    with atomic_folder(folder) as temporary:
        record = {"source": name}
        if archive:
            take_files(archive, source.files, temporary)
            record["archive"] = {"name": archive.name, "sha256": sha256_of(archive) if archive.is_file() else None}
        elif source.package:
            record["package"] = source.package[0]
            _copy_from_package(source, temporary)
        else:
            raise ConfigError(f"fetch.{dataset}.archive: source {name!r} is nowhere to be downloaded; name a folder or zip with its files")
        record["sha256"] = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / RECORD, record)


def _copy_from_package(source: Source, folder: Path) -> None:
    package, inside = source.package
    found = importlib.util.find_spec(package)  # without importing it, which can take seconds
    if found is None:
        raise DataError(f"package {package} is not installed; its folder {inside} holds {', '.join(source.sha256)}")
    home = Path(found.submodule_search_locations[0]) / inside
    for name, expected in source.sha256.items():
        if not (home / name).is_file():
            raise DataError(f"{home / name}: no such file in the installed package {package}")
        shutil.copyfile(home / name, folder / name)
        verify(folder / name, expected, str(home / name))


def verify(path: Path, expected: str, origin: str) -> None:
    """Raises `DataError` if the file at `path`, which came from `origin`, has another SHA-256 than `expected`."""
    found = sha256_of(path)
    if found != expected:
        raise DataError(f"{origin}: SHA-256 is {found}, allowed: {expected}; the file is damaged or has been changed")


def fetched_source(folder: Path) -> Source:
    """The source of the raw files in `folder`. Raises `DataError` if `fetch` did not fill it."""
    if not (folder / RECORD).is_file():
        raise DataError(f"{folder / RECORD}: no such file; run the fetch stage first")
    return DATASETS[read_json(folder / RECORD)["source"]]
