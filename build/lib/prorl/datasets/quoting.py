"""Quotes in delimited text, checked before the text is read.

A value that begins with the quote ends at the next one that is not doubled; between them may stand delimiters
and line ends. A quote inside a value that does not begin with one is a character like any other. Readers take
whatever follows a closing quote for a part of the value, so one quote that is never closed swallows rows.
"""

import re
from pathlib import Path

from prorl.errors import DataError

LineEnds = list[tuple[int, int]]  # the line on which a value begins, and how many line ends it holds


def values_with_line_ends(data: bytes, delimiter: str, quote: str, path: Path) -> LineEnds:
    """Where in the UTF-8 text `data`, read from `path`, a quoted value holds line ends, in order.

    Raises `DataError` naming the line of a quote that is never closed, or is followed by more than the end of
    its value.
    """
    mark, ends = quote.encode(), (delimiter.encode(), b"\n", b"\r", b"")
    body = re.compile(b"%b[^%b]*+(?:%b%b[^%b]*+)*+%b" % ((re.escape(mark),) * 6))
    allowed = f"quotes doubled inside quoted values; with prepare.tabular.quote: null, {quote} is a character"
    found: LineEnds = []
    line, counted, at = 1, 0, data.find(mark)
    while at >= 0:
        if at and data[at - 1 : at] not in ends:  # inside a value that does not begin with it
            at = data.find(mark, at + 1)
            continue
        line, counted = line + data.count(b"\n", counted, at), at
        value = body.match(data, at)
        if value is None:
            raise DataError(
                f"{path}: line {line}: a value begins with a {quote} that is never closed; "
                f"found {_shown(data, at)}, allowed: {allowed}"
            )
        end = value.end()
        held = data.count(b"\n", at, end)
        if data[end : end + 1] not in ends:
            raise DataError(
                f"{path}: line {line + held}: text follows the {quote} that closes a value begun on line "
                f"{line}; "
                f"found {_shown(data, end - 1)}, allowed: {allowed}"
            )
        if held:
            found.append((line, held))
        at = data.find(mark, end)
    return found


def line_of(row: int, first_line: int, line_ends: LineEnds) -> int:
    """The line on which row `row`, counted from 0, begins; row 0 begins on `first_line`."""
    line = first_line + row
    for start, held in line_ends:
        if start >= line:
            break
        line += held
    return line


def _shown(data: bytes, start: int) -> str:
    return repr(data[start : start + 60].decode(errors="replace"))
