"""Reads a log: a parquet file, a file of JSON lines, or a folder of such parts."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.offpolicy.checking import checked, refused
from prorl.offpolicy.lines import is_text, json_in, lines_of
from prorl.offpolicy.log import LOG, Log

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them
INT32 = np.iinfo(np.int32)
TEXT = "text of whole characters, without NUL"
ROWS = {".parquet": "row", ".jsonl": "line"}  # what a row is called in files of each kind


@dataclass(frozen=True)
class Places:
    """Where the rows of several files stand: their names, how many rows each has, and what it calls them."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    unit: tuple[str, ...]

    def __call__(self, row: int) -> str:
        """File and row, counted from 1."""
        ends = np.cumsum(self.counts)
        file = min(int(np.searchsorted(ends, row, side="right")), len(ends) - 1)
        return f"{self.names[file]}: {self.unit[file]} {row - (ends[file] - self.counts[file]) + 1}"


def read_log(path: Path | str) -> Log:
    """The log at `path`: `.parquet`, `.jsonl`, or a folder of such parts, whose hidden files are unfinished.

    Raises `DataError` naming file, row, column, what was found and what is allowed: a file of another kind, a
    column that is missing, unknown or of another type, an empty cell, a value that no row may have, and
    requests whose rows do not fit together.
    """
    files = _parts(Path(path))
    tables = [{".parquet": _parquet, ".jsonl": _json_lines}[file.suffix](file) for file in files]
    places = Places(
        tuple(str(file) for file in files),
        tuple(table.num_rows for table in tables),
        tuple(ROWS[file.suffix] for file in files),
    )
    return checked(pa.concat_tables(tables), places)


def _parts(path: Path) -> list[Path]:
    """`path`, or the parts in it."""
    if not path.exists():
        raise DataError(f"{path}: missing, allowed: a log, {' or '.join(ROWS)}, or a folder of its parts")
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        if not files:
            raise DataError(f"{path}: an empty folder, allowed: one with parts of a log, {' or '.join(ROWS)}")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: no file, allowed: a part of a log, {' or '.join(ROWS)}")
        if file.suffix not in ROWS:
            raise DataError(f"{file}: got {file.suffix or 'no ending'}, allowed: {' or '.join(ROWS)}")
    return files


def _check_columns(where: str, found: list[str]) -> None:
    for name in LOG.names:
        if name not in found:
            raise DataError(f"{where}: {name}: missing; found {found}, needed {LOG.names}")
    for name in found:
        if name not in LOG.names:
            raise DataError(f"{where}: {name}: unknown column, allowed: {LOG.names}")


def _parquet(path: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)  # that texts are UTF-8, too
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error
    _check_columns(str(path), table.column_names)
    table = table.select(LOG.names)
    for field in LOG:
        column = table[field.name]
        if not _KINDS[field.type](column.type):
            raise DataError(f"{path}: {field.name}: got a column of {column.type}, allowed: {field.type}")
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy())) + 1
            raise DataError(f"{path}: row {row}: {field.name}: got nothing, allowed: {field.type}")
        try:
            table = table.set_column(table.column_names.index(field.name), field, column.cast(field.type))
        except pa.ArrowException as error:
            raise DataError(f"{path}: {field.name}: {error}; allowed: {field.type}") from error
        if field.type == pa.string():
            with_nul = pc.match_substring(table[field.name], "\0").to_numpy()
            if with_nul.any():
                row = int(np.argmax(with_nul))
                found = table[field.name][row].as_py()
                raise refused(f"{path}: row {row + 1}", field.name, found, TEXT)
    return table


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list_of_integers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and pa.types.is_integer(kind.value_type)


_KINDS: dict[pa.DataType, Callable[[pa.DataType], bool]] = {
    pa.string(): _is_text,
    pa.list_(pa.int32()): _is_list_of_integers,
    pa.int32(): pa.types.is_integer,
    pa.float64(): pa.types.is_floating,
}


def _json_lines(path: Path) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in LOG.names}
    for where, line in lines_of(path):
        for name, value in _row_of(line, where).items():
            columns[name].append(value)
    return pa.table(columns, schema=LOG)


def _row_of(line: bytes, where: str) -> dict[str, Any]:
    """The row in one line of JSON."""
    try:
        row = json_in(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: got {row!r}, allowed: an object with the keys {LOG.names}")
    _check_columns(where, list(row))
    return checked_values(row, where)


def checked_values(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The columns of the log in `row`, whose `rules` are an object, as a table takes them.

    Raises `DataError` for a value of another type.
    """
    for field in LOG:
        name, value = field.name, row[field.name]
        right, allowed = _JSON_KINDS["rules" if name == "rules" else field.type]
        if not right(value):
            raise refused(where, name, value, allowed)
    return {name: row[name] for name in LOG.names} | {"rules": json.dumps(row["rules"], sort_keys=True)}


def _is_integer(value: Any) -> bool:
    return type(value) is int and INT32.min <= value <= INT32.max


def _is_exact(value: Any) -> bool:
    """Whether `value` is a whole number that a float holds exactly."""
    return type(value) is int and abs(value) <= 2**53


_JSON_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    "rules": (lambda value: isinstance(value, dict), "the section `decoding` as an object"),
    pa.string(): (is_text, TEXT),
    pa.list_(pa.int32()): (
        lambda value: isinstance(value, list) and all(map(_is_integer, value)),
        "a list of whole numbers",
    ),
    pa.int32(): (_is_integer, "a whole number"),
    pa.float64(): (lambda value: type(value) is float or _is_exact(value), "a number"),
}
