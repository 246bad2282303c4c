"""Lines of JSON from files that anybody may have written: bounded, in UTF-8, no key twice."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prorl.errors import DataError
from prorl.files import unrepeated

LONGEST_LINE = 64 * 2**20  # bytes; what rules block is the longest
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which an escape of JSON may name


def lines_of(file: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of `file`, each with its place as messages name it.

    Raises `DataError` for what is no file, and for a line of `LONGEST_LINE` bytes, before more of it is read.
    """
    if not file.is_file():
        raise DataError(f"{file}: no file, allowed: a file of lines of JSON")
    with file.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE):
            number += 1
            where = f"{file}: line {number}"
            if len(line) == LONGEST_LINE:
                raise DataError(f"{where}: got a line of {LONGEST_LINE} bytes or more, allowed: less")
            yield where, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def json_in(line: bytes) -> Any:
    """The JSON value in `line`. Raises `ValueError` for what is not JSON in UTF-8, or repeats a key."""
    try:
        return json.loads(line.decode(), object_pairs_hook=unrepeated)
    except RecursionError:
        raise ValueError("brackets without end") from None


def is_text(value: Any) -> bool:
    """Whether `value` is text as tables and arrays hold it: whole characters, and no NUL, which NumPy drops
    at the end of a text.
    """
    return isinstance(value, str) and "\0" not in value and (value.isascii() or not SURROGATE.search(value))
