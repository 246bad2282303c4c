"""Raw files into one folder per data set, from an installed package, a local archive or the publisher.

Every file is checked.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from prorl.config.fetch import Fetch, OwnFiles
from prorl.config.section import ConfigError
from prorl.datasets import DATASETS
from prorl.datasets.archives import find_archive, take_files
from prorl.datasets.downloads import download
from prorl.datasets.parts import part_files
from prorl.datasets.sources import InstalledFiles, Source
from prorl.datasets.tabular import ELSEWHERE
from prorl.errors import DataError
from prorl.files import atomic_folder, read_json, sha256_of, write_json

RECORD = "fetched.json"  # beside the raw files: their source, and where they came from


def source_name(dataset: str, source: str | None) -> str:
    """The source of `dataset`: `source`, or where that is None the one named like the data set.

    Raises `ConfigError` if there is no such source.
    """
    name = source or dataset
    if name not in DATASETS:
        raise ConfigError(
            f"fetch.{dataset}.source: data set {dataset!r} has source {name!r}, "
            f"allowed: {', '.join(DATASETS)}"
        )
    return name


def fetch(
    dataset: str,
    settings: Fetch,
    folder: Path,
    *,
    archives: Path | None,
    downloads: Path,
    checksums: Path,
    every_seconds: float,
) -> None:
    """Fill `folder` with the raw files of `dataset` and a record of their origin, completely or not at all.

    They come from `settings.files` or `settings.archive`, else from the data set's archive in the folder
    `archives`, else from the source's own place. `downloads` keeps what an interrupted download has brought.
    `checksums` is a JSON file with the checksums of first downloads whose publisher states none; a later
    download must have the same. Raises `ConfigError` for an unknown source, `DataError` for a missing file or
    a checksum that differs.
    """
    name = source_name(dataset, settings.source)
    source = DATASETS[name]
    archive = (
        Path(settings.archive)
        if settings.archive
        else archives and find_archive(dataset, source.files, archives)
    )
    with atomic_folder(folder) as temporary:
        record: dict[str, Any] = {"source": name}
        if settings.files:
            record["files_taken"] = _take_own(settings.files, temporary)
        elif archive:
            take_files(archive, source.files, temporary)
            record["archive"] = {
                "name": archive.name,
                "sha256": sha256_of(archive) if archive.is_file() else None,
            }
        elif source.installed:
            record["package"] = source.installed.package
            _copy_installed(source.installed, temporary)
        elif source.remotes:
            record["downloads"] = _download_all(source, temporary, downloads, checksums, every_seconds)
        else:
            raise ConfigError(
                f"fetch.{dataset}.archive: got null, "
                f"allowed for source {name!r}: a folder or zip with its files"
            )
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        record["files"] = {path.relative_to(temporary).as_posix(): sha256_of(path) for path in files}
        write_json(temporary / RECORD, record)
    shutil.rmtree(downloads, ignore_errors=True)


def _take_own(files: OwnFiles, folder: Path) -> dict[str, str]:
    """Copy the two tables under the names that the `tabular` source looks for; their own names.

    A folder of parts is copied whole. Of interactions at a URI, such as s3://bucket/log, the URI is kept
    alone, which is its own name.
    """
    taken = {}
    if "://" in files.interactions:
        (folder / f"interactions{ELSEWHERE}").write_text(files.interactions, encoding="utf-8")
        taken["interactions"] = files.interactions
    for name, own in (("interactions", Path(files.interactions)), ("items", Path(files.items))):
        if name in taken:
            continue
        if own.is_dir():
            parts = part_files(own)
            for part in parts:
                copy = folder / f"{name}{parts[0].suffix}" / part.relative_to(own)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(part, copy)
        elif own.is_file():
            shutil.copyfile(own, folder / f"{name}{own.suffix}")
        else:
            raise DataError(f"{own}: no such file; fetch.files.{name} names it")
        taken[name] = own.name
    return taken


def fetched_source(folder: Path) -> Source:
    """The source of the raw files in `folder`. Raises `DataError` if `fetch` did not fill it."""
    if not (folder / RECORD).is_file():
        raise DataError(f"{folder / RECORD}: no such file; run the fetch stage first")
    return DATASETS[read_json(folder / RECORD)["source"]]


def _copy_installed(installed: InstalledFiles, folder: Path) -> None:
    found = importlib.util.find_spec(installed.package)  # without importing it, which can take seconds
    if found is None or not found.submodule_search_locations:
        raise DataError(
            f"package {installed.package} is not installed; "
            f"its folder {installed.folder} holds {list(installed.sha256)}"
        )
    home = Path(found.submodule_search_locations[0]) / installed.folder
    for name, expected in installed.sha256.items():
        if not (home / name).is_file():
            raise DataError(f"{home / name}: no such file in the installed package {installed.package}")
        shutil.copyfile(home / name, folder / name)
        _verify(sha256_of(folder / name), expected, str(home / name))


def _download_all(
    source: Source, folder: Path, downloads: Path, checksums: Path, every_seconds: float
) -> dict[str, str]:
    """Download what `source` needs, check it and put the raw files into `folder`.

    Returns the checksum of each download.
    """
    known = read_json(checksums) if checksums.exists() else {}
    found = {}
    for remote in source.remotes:
        path = downloads / remote.name
        if not path.exists():
            download(remote.url, path, every_seconds)
        found[remote.name] = sha256_of(path)
        expected = remote.sha256 or known.get(remote.name)
        if expected and found[remote.name] != expected:
            path.unlink()
        stated = "" if remote.sha256 else f", recorded in {checksums} at the first download"
        _verify(found[remote.name], expected or found[remote.name], remote.url, stated)
    for remote in source.remotes:
        if any(remote.name in names for names in source.files):
            (downloads / remote.name).replace(folder / remote.name)
        else:
            take_files(downloads / remote.name, source.files, folder)
    first = {remote.name: found[remote.name] for remote in source.remotes if not remote.sha256}
    if first:
        write_json(checksums, {**known, **first})
    return found


def _verify(found: str, expected: str, origin: str, stated: str = "") -> None:
    if found != expected:
        raise DataError(
            f"{origin}: SHA-256 is {found}, allowed: {expected}{stated}; "
            "the file is damaged or has been changed"
        )
