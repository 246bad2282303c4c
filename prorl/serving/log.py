"""Reads the service's log for estimates of what another policy would have achieved.

`prorl.serving.journal` writes it, and says what its lines are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from prorl.errors import DataError
from prorl.offpolicy.checking import checked, refused
from prorl.offpolicy.lines import is_text, json_in, lines_of
from prorl.offpolicy.log import LOG, Log
from prorl.offpolicy.outcomes import LEFT, OUTCOMES, UNANSWERED
from prorl.offpolicy.reading import checked_values
from prorl.serving.journal import BLOCKED, KINDS, OUTCOME, SHOWN

LARGE = ("time", "request_id", "user", "history", "rules", "model")  # what rows of a request share
ANSWERS = tuple(outcome for outcome in OUTCOMES if outcome != UNANSWERED)


@dataclass(frozen=True)
class ServiceLog:
    """A service's log as estimates take it, and in `notes`, a line each, what of its files is not in `log`,
    or could mislead.
    """

    log: Log
    notes: tuple[str, ...]


@dataclass
class _Path:
    """A request as its lines tell it; `ends`: whether its last line is the last of its file."""

    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[int, tuple[str, str]] = field(default_factory=dict)
    ends: bool = False


@dataclass
class _Contents:
    paths: dict[str, _Path] = field(default_factory=dict)
    blocked: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_log(paths: Path | str | Iterable[Path | str]) -> ServiceLog:
    """The log in `paths`: its files, or folders of them, of one service or of several.

    A request counts with all that was shown, up to the item at which the user left; what has no answer is
    `unanswered`. Left out, and told in the notes: a torn last line, as a killed service leaves it, and a
    request that was being written then, which nobody was shown; requests whose paths were not sampled, which
    tell nothing of another policy; answers to requests that other files have.

    Raises `DataError` naming file, line, key, what was found and what is allowed: a line that is none of the
    log's, rows without histories (written without `log_histories`), requests that contradict themselves, and
    a log without any sampled request.
    """
    contents = _Contents()
    given = [paths] if isinstance(paths, Path | str) else list(paths)
    for file in _files(given):
        _read(file, contents)
    rows, where = _sampled(contents, ", ".join(map(str, given)))
    table = pa.Table.from_pylist(rows, schema=LOG)
    return ServiceLog(checked(table, lambda row: where[row]), tuple(contents.notes))


def _files(paths: Sequence[Path | str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(
                f"{path}: missing, allowed: a log of the service, .jsonl, or a folder of its files"
            )
        found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: no file .jsonl in it, allowed: a folder of the service's log")
        files += [file for file in found if file not in files]
    if not files:
        raise DataError("log: got no path, allowed: a log of the service, .jsonl, or a folder of its files")
    return files


def _lines(file: Path, notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of `file` with their places; a torn last one is noted and left out."""
    for where, line in lines_of(file):
        try:
            row = json_in(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                notes.append(f"{where}: torn, as a service leaves it that is killed; left out")
                return
            raise DataError(f"{where}: not JSON: {error}") from None
        yield where, _of_kind(row, where)


def _of_kind(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict) or row.get("kind") not in list(KINDS):  # what is found may have no hash
        found = row.get("kind") if isinstance(row, dict) else row
        raise refused(where, "kind", found, ", ".join(KINDS))
    keys = KINDS[row["kind"]]
    for name in keys:
        if name not in row:
            raise DataError(f"{where}: {name}: missing; found {list(row)}, needed {list(keys)}")
    for name in row:
        if name not in keys:
            raise DataError(f"{where}: {name}: unknown key, allowed: {list(keys)}")
    return row


def _read(file: Path, contents: _Contents) -> None:
    """Add the lines of `file` to `contents`."""
    last = None
    strays = 0
    for where, row in _lines(file, contents.notes):
        last = None
        if row["kind"] == BLOCKED:
            contents.blocked[_text(row, "blocked", where)] = row["items"]
        elif row["kind"] == SHOWN:
            last = contents.paths.setdefault(_text(row, "request_id", where), _Path())
            first = last.rows[0][1] if last.rows else row
            row |= {name: first[name] for name in LARGE if first[name] == row[name]}  # kept once
            last.rows.append((where, row))
        elif row["kind"] == OUTCOME:
            strays += not _answered(row, where, contents)
    if last is not None:
        last.ends = True
    if strays:
        told = "answer" if strays == 1 else "answers"
        contents.notes.append(f"{file}: {strays} {told} to requests that none of these files shows; left out")


def _answered(row: dict[str, Any], where: str, contents: _Contents) -> bool:
    """Keep the answer in `row`; False where its request is not known."""
    position, outcome = row["position"], row["outcome"]
    if type(position) is not int or position < 0:
        raise refused(where, "position", position, "a whole number, 0 or above")
    if outcome not in ANSWERS:
        raise refused(where, "outcome", outcome, f"one of {', '.join(ANSWERS)}")
    path = contents.paths.get(_text(row, "request_id", where))
    if path is None:
        return False
    before = path.answers.setdefault(position, (outcome, where))
    if before[0] != outcome:
        raise refused(where, "outcome", outcome, f"{before[0]}, as at {before[1]}: an item has one outcome")
    return True


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if not is_text(row[name]) or not row[name]:
        raise refused(where, name, row[name], "text that is not empty, of whole characters, without NUL")
    return row[name]


def _sampled(contents: _Contents, source: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of all sampled requests of the log `source`, in its columns, and where each stands."""
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    greedy = silent = 0
    for name, path in contents.paths.items():
        for where, row in path.rows:
            _check_row(row, where)
        where, first = path.rows[-1]
        if len(path.rows) > first["of"]:
            raise refused(
                where, "of", first["of"], f"as many as request {name!r} has lines, {len(path.rows)}"
            )
        if len(path.rows) < first["of"]:
            if not path.ends:
                allowed = (
                    f"{first['of']}: request {name!r} has {len(path.rows)} lines, more follow in its file"
                )
                raise refused(where, "of", len(path.rows), allowed)
            contents.notes.append(
                f"{where}: request {name!r} has {len(path.rows)} of {first['of']} items: the service was "
                "killed before it was shown; left out"
            )
            continue
        if first["temperature"] == 0:
            greedy += 1
            continue
        silent += not path.answers
        for where, row in path.rows:
            outcome = path.answers.pop(row["position"], (UNANSWERED, where))[0]
            rows.append(_columns(row, outcome, contents.blocked, where))
            places.append(where)
        if path.answers:
            position, (_, where) = next(iter(path.answers.items()))
            raise refused(where, "position", position, f"that of an item of request {name!r}")
        _cut(rows, places, len(path.rows))
    if not rows:
        raise DataError(
            f"{source}: got {greedy} requests, none of them sampled, allowed: a log of one with `explore`"
        )
    if greedy:
        contents.notes.append(
            f"{greedy} requests were not sampled (temperature 0): they tell nothing of another policy; "
            "left out"
        )
    if silent:
        n_sampled = len({row["request_id"] for row in rows})
        contents.notes.append(f"{silent} of {n_sampled} requests have no answer at all: `{UNANSWERED}`")
    return rows, places


def _check_row(row: dict[str, Any], where: str) -> None:
    if row["history"] is None:
        raise refused(where, "history", None, "items: estimates need a log written with `log_histories`")
    if type(row["position"]) is not int:
        raise refused(where, "position", row["position"], "a whole number")
    if type(row["of"]) is not int or row["of"] < 1:
        raise refused(where, "of", row["of"], "a whole number, 1 or above")
    if row["outcome"] is not None:
        raise refused(where, "outcome", row["outcome"], "null: answers have lines of their own")


def _columns(row: dict[str, Any], outcome: str, blocked: dict[str, list[int]], where: str) -> dict[str, Any]:
    """A row of the log from a shown item and its outcome."""
    rules = row["rules"]
    if isinstance(rules, dict) and "blocked" in rules:
        if not isinstance(rules["blocked"], str) or rules["blocked"] not in blocked:
            raise refused(
                where, "rules.blocked", rules["blocked"], "one that a line `blocked` of the log has"
            )
        rules = rules | {"blocked": blocked[rules["blocked"]]}
    return checked_values(row | {"rules": rules, "outcome": outcome}, where)


def _cut(rows: list[dict[str, Any]], places: list[str], n: int) -> None:
    """Take away, of the last `n` rows, those behind the item at which the user left: nobody saw them."""
    begin = len(rows) - n
    left = [row["position"] for row in rows[begin:] if row["outcome"] == LEFT]
    if not left:
        return
    kept = [
        (row, place)
        for row, place in zip(rows[begin:], places[begin:], strict=True)
        if row["position"] <= left[0]
    ]
    rows[begin:], places[begin:] = [row for row, _ in kept], [place for _, place in kept]
