"""A table in many files: which files of a folder are its parts, their order, and their rows as one.

Parts stand in the order of their names, each name with the folders before it. Names that begin with _ or .
are no parts: programs that write folders leave marks there.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from prorl.datasets.delimited import ReadTable
from prorl.errors import DataError

# Of a part: in these formats a row has one place in its file, however it is read.
STABLE = (".parquet", ".csv", ".tsv", ".inter", ".item", ".txt", ".dat", ".data")


def file_system(place: Path | str) -> tuple[FileSystem, str]:
    """The file system of a path or a URI such as s3://bucket/log, and the path within it.

    Raises `DataError` for a URI that none has.
    """
    if "://" not in str(place):
        return LocalFileSystem(), str(place)
    try:
        return FileSystem.from_uri(str(place))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{place}: not a place that can be read: {error}") from error


def part_files(place: Path | str) -> list[Path]:
    """The files of the table at `place`, a file or a folder, as paths within its file system, in order.

    Raises `DataError` if there is none, if two have different formats, or one a format in which a row has no
    stable position.
    """
    system, path = file_system(place)
    try:
        if system.get_file_info(path).type == FileType.File:
            files = [Path(path)]
        else:
            found = system.get_file_info(FileSelector(path, recursive=True))
            names = sorted(Path(info.path) for info in found if info.type == FileType.File)
            files = [name for name in names if not _is_mark(name.relative_to(path))]
    except OSError as error:
        raise DataError(f"{place}: not readable: {error}") from error
    if not files:
        raise DataError(f"{place}: a folder without a file, allowed: parts of one table")
    for file in files:
        if file.suffix not in STABLE:
            raise DataError(
                f"{file}: a row of such a file has no stable position, by which equal times are ordered and "
                f"users numbered; allowed: files that end in {', '.join(STABLE)}"
            )
        if file.suffix != files[0].suffix:
            raise DataError(f"{file}: allowed: parts of one format, {files[0].name} is {files[0].suffix}")
    return files


def _is_mark(name: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in name.parts)


def joined(folder: Path, parts: Sequence[ReadTable]) -> ReadTable:
    """The rows of all `parts` of a table in `folder`. Raises `DataError` for a part with other columns."""
    schema = parts[0].table.schema
    for part in parts[1:]:
        if not part.table.schema.equals(schema):
            found, allowed = ([f"{f.name}: {f.type}" for f in s] for s in (part.table.schema, schema))
            raise DataError(f"{part.path}: columns are {found}, allowed: those of the first part, {allowed}")
    table = pa.concat_tables([part.table for part in parts])
    return ReadTable(folder, table, parts[0].first_line, parts=tuple(parts))
