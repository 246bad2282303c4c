"""Compressed files of one record per line, JSON or Python literals, and the text in them."""

import ast
import gzip
import html
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prorl.errors import DataError

# A string, number or list as Python writes it. Possessive quantifiers: no text can make the match slow.
STRING = r"""u?(?:'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+")"""
SCALAR = rf"(?:{STRING}|-?[0-9][0-9.eE+-]*+|True|False|None)"
PAIR = re.compile(rf"({STRING}): ({SCALAR}|\[(?:{SCALAR}(?:, {SCALAR})*+)?\])(, |\}}$)")

TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # Python joins the two halves of a pair while it reads
OPENING = re.compile(r"<(script|style)\b", re.IGNORECASE)
CLOSING = {name: re.compile(f"</{name}>", re.IGNORECASE) for name in ("script", "style")}
LONGEST_LINE = 1 << 26  # characters; a packed file may claim any number


def gzip_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, and lines without their line ends; without blank lines at the end of the file.

    Raises `DataError` naming the last line before the damage, if the file is damaged or not there, and for a
    line of more than `LONGEST_LINE` characters.
    """
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            blank = []
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise DataError(f"{path}: line {number}: allowed: at most {LONGEST_LINE:,} characters")
                if not line.strip():
                    blank.append((number, ""))
                    continue
                yield from blank
                blank = []
                yield number, line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged after line {number}: {error}") from error


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and JSON objects. Raises `DataError` naming a line that is none."""
    for number, line in gzip_lines(path):
        try:
            record = _whole(json.loads(line), line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: not JSON: {error}; found {line[:200]!r}") from error
        yield number, _mapping(record, path, number)


def without_lone_surrogates(value: Any) -> Any:
    """`value`, of JSON or a Python literal, with U+FFFD in place of every half of a character in its texts.

    An escape may name the half of a pair that stands for one character, which no file in UTF-8 can hold.
    """
    if isinstance(value, str):
        return value if value.isascii() else LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list | tuple):
        return type(value)(map(without_lone_surrogates, value))
    if isinstance(value, dict):
        return {without_lone_surrogates(key): without_lone_surrogates(part) for key, part in value.items()}
    return value


def literal_records(path: Path, names: set[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and the values of `names` in dictionaries written as Python literals.

    Nothing is evaluated. One regular expression splits a line of the usual form; `ast.literal_eval`, which
    reads literals only, reads any other. Raises `DataError` naming a line that is no dictionary.
    """
    for number, line in gzip_lines(path):
        try:
            pairs = _usual_pairs(line)
            record = (
                ast.literal_eval(line)
                if pairs is None
                else {name: literal_text(pairs[name]) for name in names & pairs.keys()}
            )
            record = _whole(record, line)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise DataError(
                f"{path}: line {number}: not a Python literal: {error}; found {line[:200]!r}"
            ) from error
        yield number, _mapping(record, path, number)


def _whole(record: Any, line: str) -> Any:
    """The record that stands in `line`, with whole characters alone in its texts."""
    return without_lone_surrogates(record) if "\\" in line else record


def _mapping(record: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataError(
            f"{path}: line {number}: found {type(record).__name__}, allowed: names with values in braces"
        )
    return record


def _usual_pairs(line: str) -> dict[str, str] | None:
    """Names and values, still as literals, of `{'name': value, ...}`; None for a line of another form."""
    pairs = {}
    position = 1
    while match := PAIR.match(line, position):
        name, value, end = match.groups()
        pairs[literal_text(name)] = value
        position = match.end()
        if end == "}" and line[0] == "{":
            return pairs
    return None


def literal_text(value: str) -> Any:
    """The value that a literal stands for: text, a number or a list."""
    if value[-1] in "'\"" and "\\" not in value:
        return value[2:-1] if value[0] == "u" else value[1:-1]
    return ast.literal_eval(value)


def required(record: dict[str, Any], name: str, kind: type, path: Path, number: int) -> Any:
    """`record[name]`. Raises `DataError` if it is missing or not of `kind`."""
    if name not in record:
        raise DataError(f"{path}: line {number}: field {name!r} is missing; found {sorted(map(str, record))}")
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{path}: line {number}: {name} is {value!r}, allowed: {kind.__name__}")
    return value


def plain_text(value: Any) -> str:
    """Text without HTML entities, tags, scripts and repeated spaces; empty for anything but text."""
    if not isinstance(value, str):
        return ""
    if "<" in value:
        value = TAG.sub(" ", _without_scripts(value))
    if "&" in value:
        value = html.unescape(value)
    return " ".join(value.split())


def _without_scripts(text: str) -> str:
    """`text` with a space in place of every script and style that is closed.

    The plain form is `<(script|style)\\b.*?</\\1>`, which takes a minute on a text with many that are not.
    """
    kept, start, at = [], 0, 0
    unclosed: set[str] = set()
    while opening := OPENING.search(text, at):
        name = opening[1].lower()
        closing = None if name in unclosed else CLOSING[name].search(text, opening.end())
        if closing is None:
            unclosed.add(name)
            at = opening.end()
            continue
        kept.append(text[start : opening.start()])
        start = at = closing.end()
    return " ".join([*kept, text[start:]])


def plain_texts(value: Any) -> list[str]:
    """`plain_text` of one text or of each entry of a list, without empty ones."""
    values = value if isinstance(value, list) else [value]
    return [text for text in map(plain_text, values) if text]
