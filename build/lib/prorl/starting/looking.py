"""How a user's file is written, told by its bytes: encoding, delimiter, quotes, a line of names or none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prorl.config.prepare import Tabular
from prorl.config.section import ConfigError
from prorl.datasets.delimited import ReadTable, TextForm, content, read_delimited
from prorl.datasets.tabular import DELIMITERS, PARQUET, read_table_of
from prorl.errors import DataError

CANDIDATES = ("\t", "::", ",", ";", "|")
SAMPLED_LINES = 100
QUOTED = re.compile(r'"[^"\n]*"')
VALUE = re.compile(
    r"[-+]?[0-9]+(?:[.:/-][0-9]+)*(?:[T ][0-9:.Z+-]+)?"
)  # a number or a date, no column's name


@dataclass(frozen=True)
class Look:
    """How one file is written. `quote` is None where quotes are characters; `told` is for people to know."""

    path: Path
    delimiter: str
    encoding: str
    quote: str | None
    has_quotes: bool
    header: bool
    told: tuple[str, ...] = ()

    @property
    def by_ending(self) -> bool:
        """Whether the file's ending tells its delimiter."""
        return DELIMITERS.get(self.path.suffix) == self.delimiter


def look_at(path: Path) -> Look | None:
    """How the delimited file `path` is written; None for parquet.

    Raises `DataError` for a file that is not there or empty, `ConfigError` for one of another kind.
    """
    if path.suffix == PARQUET:
        return None
    raw = content(path)
    if not raw.strip():
        raise DataError(f"{path}: holds nothing")
    if raw[:2] == b"\x1f\x8b" or raw[:4] in (b"PK\x03\x04", b"PAR1"):
        allowed = (
            "parquet under a name that ends in .parquet, or text that is not packed, as CSV, TSV or .inter"
        )
        raise ConfigError(f"{path}: is packed or parquet, allowed: {allowed}")
    encoding, told = _encoding(raw, path)
    text = content(path, encoding)
    lines = text.decode(errors="replace").split("\n", SAMPLED_LINES)[:SAMPLED_LINES]
    lines = [QUOTED.sub("", line.rstrip("\r")) for line in lines if line.strip()]
    delimiter = _delimiter(lines, path)
    header = not any(VALUE.fullmatch(value.strip()) for value in lines[0].split(delimiter))
    has_quotes = b'"' in text
    quote, why = _quote(path, delimiter, encoding) if has_quotes else ('"', ())
    return Look(path, delimiter, encoding, quote, has_quotes, header, (*told, *why))


def _encoding(raw: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf16", ()
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return "latin1", (f"{path}: line {line} is not UTF-8, so the file is read as latin1",)
    return "utf8", ()


def _delimiter(lines: list[str], path: Path) -> str:
    """The candidate that stands in every line as often as in the first, or in most lines."""
    usual = DELIMITERS.get(path.suffix)
    scores = {}
    for candidate in CANDIDATES:
        if times := lines[0].count(candidate):
            same = sum(line.count(candidate) == times for line in lines) / len(lines)
            scores[candidate] = (round(same, 1), candidate == usual)
    if not scores:
        raise DataError(
            f"{path}: line 1: {lines[0][:100]!r} holds no delimiter, allowed: one of "
            f"{', '.join(map(repr, CANDIDATES))}"
        )
    return max(scores, key=lambda candidate: scores[candidate])


def _quote(path: Path, delimiter: str, encoding: str) -> tuple[str | None, tuple[str, ...]]:
    """The quote of a file that holds some; None where they are characters like any other.

    They are where the rules of quoting are broken, or where every line is a row without them although values
    would hold line ends with them.
    """
    try:
        quoted = read_delimited(path, TextForm(delimiter, encoding=encoding, quote='"'))
    except DataError as error:
        return None, (f"quotes are characters like any other, for as enclosing values they break: {error}",)
    if quoted.line_ends:
        try:
            read_delimited(path, TextForm(delimiter, encoding=encoding))
        except DataError:
            return '"', ()
        return None, (f"{path}: quotes are characters like any other, for every line is a row so",)
    return '"', ()


def common_form(interactions: Look | None, items: Look | None) -> dict:
    """The settings of `prepare.tabular` with which both files are read, but for those that are the usual.

    Raises `ConfigError` where one setting would have to be different for the two.
    """
    looks = {name: look for name, look in (("interactions", interactions), ("items", items)) if look}
    form: dict = {}
    if not all(look.by_ending for look in looks.values()):
        form["delimiter"] = _one("delimiter", {look.path: look.delimiter for look in looks.values()})
    if any(look.quote is None for look in looks.values()):
        form["quote"] = _one("quote", {look.path: look.quote for look in looks.values() if look.has_quotes})
    encodings = {look.path: look.encoding for look in looks.values() if not _is_ascii(look)}
    if any(encoding != "utf8" for encoding in encodings.values()):
        form["encoding"] = _one("encoding", encodings)
    if without := [name for name, look in looks.items() if not look.header]:
        form["without_header"] = without
    return form


def _is_ascii(look: Look) -> bool:
    return look.encoding == "utf8" and look.path.read_bytes().isascii()


def _one(setting: str, values: Mapping[Path, str | None]) -> str | None:
    if len(set(values.values())) > 1:
        found = ", ".join(f"{value!r} in {path}" for path, value in values.items())
        raise ConfigError(f"prepare.tabular.{setting}: got {found}, allowed: the same in both files")
    return next(iter(values.values()))


def read_both(interactions: Path, items: Path, form: Tabular) -> tuple[ReadTable, ReadTable]:
    """Both tables, whole."""
    return read_table_of(interactions, form, "interactions"), read_table_of(items, form, "items")


def plain_name(column: str) -> str:
    """A column's name without RecBole's type, case and marks: `movie_title:token_seq` is `movietitle`."""
    return re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower())
