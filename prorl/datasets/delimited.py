"""Delimited text as columns of text, and texts as ids and numbers; errors name the line."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as csv

from prorl.tables import DataError

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them
BLOCK_BYTES = 1 << 24  # the longest line that can be read


def read_delimited(
    path: Path, separator: str, columns: list[str] | None, encoding: str, quoted: bool
) -> pa.Table:
    """The file as text columns named `columns`, or as its first line names them where that is None.

    A `separator` of several characters is read as a tab, so that no value may hold one. With `quoted`,
    values in double quotes may hold separators and line ends. Raises `DataError` naming the line that has
    too many or too few values.
    """
    malformed: list[csv.InvalidRow] = []

    def stop(row: csv.InvalidRow) -> str:
        malformed.append(row)
        return "error"

    source = path
    if len(separator) > 1:
        source, separator = BytesIO(path.read_bytes().replace(separator.encode(), b"\t")), "\t"
    parsing = csv.ParseOptions(
        delimiter=separator,
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        ignore_empty_lines=False,
        invalid_row_handler=stop,
    )
    # One thread: only then does pyarrow number the rows.
    reading = csv.ReadOptions(
        use_threads=False, column_names=columns, encoding=encoding, block_size=BLOCK_BYTES
    )
    try:
        names = columns if columns is not None else _header(path, separator, encoding, quoted)
        converting = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        return csv.read_csv(source, read_options=reading, parse_options=parsing, convert_options=converting)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if not malformed:
            raise DataError(f"{path}: not readable as delimited text: {error}") from error
        row = malformed[0]
        raise DataError(
            f"{path}: line {row.number}: {row.actual_columns} values, allowed: {row.expected_columns}; "
            f"found {row.text[:200]!r}"
        ) from error


def _header(path: Path, separator: str, encoding: str, quoted: bool) -> list[str]:
    """The values of the first line."""
    with open(path, "rb") as stream:
        line = stream.readline()
    parsing = csv.ParseOptions(delimiter=separator, quote_char='"' if quoted else False)
    return csv.read_csv(
        BytesIO(line), read_options=csv.ReadOptions(encoding=encoding), parse_options=parsing
    ).column_names


def column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Column `name` of a table read from `path`. Raises `DataError` if it is missing."""
    if name not in table.column_names:
        raise DataError(f"{path}: column {name!r} is missing; found {table.column_names}")
    return table[name]


def identifiers(values: pa.ChunkedArray, name: str, path: Path, first_line: int) -> pa.ChunkedArray:
    """Raw ids, unchanged.

    Raises `DataError` for the first that is empty or null; `first_line` is the line of row 0.
    """
    present = pc.fill_null(pc.not_equal(values, ""), False)
    if not all_true(present):
        raise DataError(f"{path}: line {first_false(present) + first_line}: {name} is empty, allowed: an id")
    return values


def whole_numbers(values: pa.ChunkedArray, name: str, path: Path, first_line: int) -> np.ndarray:
    """Texts as int64.

    Raises `DataError` for the first that is no whole number; `first_line` is the line of row 0.
    """
    whole = are_whole(values)
    if not all_true(whole):
        row = first_false(whole)
        raise DataError(
            f"{path}: line {row + first_line}: {name} is {values[row].as_py()!r}, allowed: a whole number"
        )
    return pc.cast(values, pa.int64()).to_numpy()


def are_whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which texts are whole numbers that fit int64."""
    return pc.fill_null(pc.match_substring_regex(values, r"^-?[0-9]{1,18}$"), False)


def all_true(mask: pa.ChunkedArray) -> bool:
    """Whether no row of `mask` is false; true where there is no row."""
    return pc.all(mask, min_count=0).as_py()


def first_false(mask: pa.ChunkedArray) -> int:
    """The number of the first row where `mask` is false."""
    return pc.index(mask, pa.scalar(False)).as_py()
