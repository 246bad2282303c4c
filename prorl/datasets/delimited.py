"""Delimited text as columns of text, and texts as ids and numbers; errors name the line."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as csv

from prorl.datasets.quoting import LineEnds, line_of, values_with_line_ends
from prorl.errors import DataError

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them
BLOCK_BYTES = 1 << 24  # the longest line that can be read
LARGEST = str(2**63 - 1)  # of int64, 19 digits


@dataclass(frozen=True)
class TextForm:
    """How a delimited file is written.

    A `delimiter` of several characters is read as a tab, so that no value may hold one. `columns` are its
    columns, None where its first line names them. Values in `quote` may hold delimiters and line ends; None
    where quotes are characters like any other.
    """

    delimiter: str
    columns: list[str] | None = None
    encoding: str = "utf8"
    quote: str | None = None


@dataclass(frozen=True)
class ReadTable:
    """A table as read from `path`; `first_line` is the line of row 0, None where the file has no lines.

    line_ends: the values that hold line ends. before: rows of the file before row 0. A table read from a
    folder holds the rows of its `parts`, one after another.
    """

    path: Path
    table: pa.Table
    first_line: int | None
    line_ends: LineEnds = field(default_factory=list)
    before: int = 0
    parts: "Sequence[ReadTable]" = ()

    def place(self, row: int) -> str:
        """Where row `row`, counted from 0, stands in the file."""
        for part in self.parts:
            if row < part.table.num_rows:
                return part.place(row)
            row -= part.table.num_rows
        if self.first_line is None:
            return f"{self.path}: row {self.before + row + 1}"
        return f"{self.path}: line {line_of(row, self.first_line, self.line_ends)}"

    def column(self, name: str) -> pa.ChunkedArray:
        """Column `name`. Raises `DataError` if it is missing, or stands there twice."""
        return column(self.table, name, self.path)


def read_delimited(path: Path, form: TextForm) -> ReadTable:
    """The file as columns of text. Blank lines at its end are none of its rows.

    Raises `DataError` naming the line that has too many or too few values, or a quote that breaks the rules,
    see `prorl.datasets.quoting`.
    """
    malformed: list[csv.InvalidRow] = []

    def stop(row: csv.InvalidRow) -> str:
        malformed.append(row)
        return "error"

    data, delimiter = content(path, form.encoding), form.delimiter
    _require_utf8(data, path, form.encoding)
    if len(delimiter) > 1:
        data, delimiter = data.replace(delimiter.encode(), b"\t"), "\t"
    quoted = form.quote is not None and form.quote.encode() in data
    line_ends = values_with_line_ends(data, delimiter, form.quote, path) if form.quote and quoted else []
    parsing = csv.ParseOptions(
        delimiter=delimiter,
        quote_char=form.quote or False,
        newlines_in_values=form.quote is not None,
        ignore_empty_lines=False,
        invalid_row_handler=stop,
    )
    # One thread: only then does pyarrow number the rows.
    reading = csv.ReadOptions(use_threads=False, column_names=form.columns, block_size=BLOCK_BYTES)
    try:
        names = form.columns if form.columns is not None else _header(data, parsing)
        converting = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        table = csv.read_csv(
            BytesIO(data), read_options=reading, parse_options=parsing, convert_options=converting
        )
    except pa.ArrowException as error:
        if not malformed:
            raise DataError(f"{path}: not readable as delimited text in {form.encoding}: {error}") from error
        row = malformed[0]  # without a number where the line of names alone is read
        raise DataError(
            f"{path}: line {line_of((row.number or 1) - 1, 1, line_ends)}: {row.actual_columns} values, "
            f"allowed: {row.expected_columns}; found {row.text[:200]!r}"
        ) from error
    return ReadTable(path, table, 1 if form.columns is not None else 2, line_ends)


def content(path: Path, encoding: str = "utf8") -> bytes:
    """The text in `path` as UTF-8, without a byte order mark and blank lines at its end.

    Bytes that are said to be UTF-8 stay as they are. Raises `DataError` for text in another encoding, or one
    that is not there.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if codecs.lookup(encoding).name != "utf-8":
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise DataError(f"{path}: not readable as text in {encoding}: {error}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    last = len(data.rstrip(b"\r\n \t"))
    end = data.find(b"\n", last)
    return data[: end + 1] if end >= 0 else data


def _require_utf8(data: bytes, path: Path, encoding: str) -> None:
    """Raise `DataError` naming the first line of `data` that is no UTF-8: pyarrow reads others before it
    says so, and cannot show the row that it stops at.
    """
    try:
        pa.array([data], pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            told = f"byte {data[error.start]:#04x} where none can stand"
            raise DataError(
                f"{path}: not readable as delimited text in {encoding}: line {line}: {told}"
            ) from error


def _header(data: bytes, parsing: csv.ParseOptions) -> list[str]:
    """The values of the first line."""
    line = data[: data.find(b"\n") + 1] or data
    return csv.read_csv(BytesIO(line), parse_options=parsing).column_names


def column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """Column `name` of a table read from `path`.

    Raises `DataError` if it is missing, or stands there twice.
    """
    if (found := table.column_names.count(name)) != 1:
        told = "is missing" if not found else f"stands there {found} times"
        raise DataError(f"{path}: column {name!r} {told}; found {table.column_names}")
    return table[name]


def identifiers(read: ReadTable, name: str, told: str) -> pa.ChunkedArray:
    """The raw ids in column `name`, unchanged. Raises `DataError` for the first that is empty or null."""
    values = read.column(name)
    present = pc.fill_null(pc.not_equal(values, ""), False)
    if not all_true(present):
        raise DataError(f"{read.place(first_false(present))}: {told} is empty, allowed: an id")
    return values


def whole_numbers(read: ReadTable, name: str, told: str) -> np.ndarray:
    """The texts in column `name` as int64. Raises `DataError` for the first that is no whole number."""
    values = read.column(name)
    whole = are_whole(values)
    if not all_true(whole):
        row = first_false(whole)
        found = values[row].as_py()
        raise DataError(f"{read.place(row)}: {told} is {found!r}, allowed: a whole number")
    return as_whole(values)


def are_whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which texts are whole numbers that fit int64; decimals of zeros alone do not count."""
    short = pc.fill_null(pc.match_substring_regex(values, r"^-?[0-9]{1,18}$"), False)
    if all_true(short):  # the usual case
        return short
    digits = pc.replace_substring_regex(values, r"^-?0*", "")
    digits = pc.replace_substring_regex(digits, r"\.0*$", "")
    fits = pc.or_(
        pc.less(pc.utf8_length(digits), len(LARGEST)),
        pc.and_(pc.equal(pc.utf8_length(digits), len(LARGEST)), pc.less_equal(digits, LARGEST)),
    )
    return pc.fill_null(pc.and_(pc.match_substring_regex(values, r"^-?[0-9]+(?:\.0*)?$"), fits), False)


def as_whole(values: pa.ChunkedArray) -> np.ndarray:
    """Texts that `are_whole` as int64."""
    if all_true(pc.invert(pc.match_substring(values, "."))):
        return pc.cast(values, pa.int64()).to_numpy()
    return pc.cast(pc.replace_substring_regex(values, r"\.0*$", ""), pa.int64()).to_numpy()


def all_true(mask: pa.ChunkedArray) -> bool:
    """Whether no row of `mask` is false; true where there is no row."""
    return pc.all(mask, min_count=0).as_py()


def first_false(mask: pa.ChunkedArray) -> int:
    """The number of the first row where `mask` is false."""
    return pc.index(mask, pa.scalar(False)).as_py()
