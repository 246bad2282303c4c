"""What a log must keep: each row by itself, and the rows of a request together.

Shape key: `n` requests, `s` rows (shown items), `h` items of history, `f` flat items of all histories.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError, build
from prorl.errors import DataError
from prorl.offpolicy.log import SHARED, Log, rules_text
from prorl.offpolicy.outcomes import LEFT, OUTCOMES
from prorl.offpolicy.users import HASH_BYTES

HASH = re.compile(f"[0-9a-f]{{{2 * HASH_BYTES}}}")

# Histories are padded to the longest: to as many places at most, or as often what they hold together.
MOST_PLACES, MOST_PADDED = 2**27, 64

Where = Callable[[int], str]  # file and row of a row of the table, for errors


def refused(where: str, column: str, found: object, allowed: str) -> DataError:
    """The error of a value: where it stands, what was found, what is allowed."""
    return DataError(f"{where}: {column}: got {found!r}, allowed: {allowed}")


def checked(table: pa.Table, where: Where) -> Log:
    """The rows of `table`, of the schema `LOG` and without nulls, as a log.

    Raises `DataError` for a mistake, naming its row as `where` does.
    """
    if not table.num_rows:
        raise DataError(f"{where(0)}: missing, allowed: 1 row or more")
    rows = _Rows(table, where)
    rows.check_alone()
    request, first = rows.requests()
    rows.check_shared(request, first)
    order = np.lexsort((rows.position, request))
    rows.check_positions(request, order)
    log = Log(
        request_id=rows.text["request_id"][first],
        user=np.unique(rows.text["user"][first], return_inverse=True)[1],
        history=rows.padded_history(first),
        target=rows.target[first],
        rules=tuple(rows.rules),
        rule=rows.rule[first],
        temperature=rows.temperature[first],
        model=rows.text["model"][first],
        request=request[order],
        position=rows.position[order],
        item=rows.item[order],
        propensity=rows.propensity[order],
        outcome=rows.outcome[order],
    )
    _check_paths(log, lambda row: where(int(order[row])))
    return log


class _Rows:
    """The columns of a table as arrays [s], histories as flat items and where each begins [s + 1]."""

    def __init__(self, table: pa.Table, where: Where):
        self.where = where
        names = ("request_id", "user", "outcome", "model")
        self.text = {name: table[name].to_numpy().astype(str) for name in names}
        self.target, self.position, self.item = (
            table[name].to_numpy().astype(np.int64) for name in ("target", "position", "item")
        )
        self.temperature, self.propensity = (table[name].to_numpy() for name in ("temperature", "propensity"))
        rules = table["rules"].combine_chunks().dictionary_encode()
        self.rule = rules.indices.to_numpy()
        self.rules = self._read_rules(rules.dictionary.to_pylist())
        history = table["history"].combine_chunks()
        self.begin = history.offsets.to_numpy() - history.offsets[0].as_py()
        self.flat = history.flatten()
        self._require_alike_histories()
        self.outcome = np.argmax(self.text["outcome"][:, None] == np.array(OUTCOMES), axis=1)

    def _require_alike_histories(self) -> None:
        """Raise where one history is so long that all of them, padded to it, would fill memory."""
        lengths = np.diff(self.begin)
        longest, most = int(lengths.max()), max(MOST_PLACES, MOST_PADDED * len(self.flat))
        if longest * len(lengths) > most:
            row = int(np.argmax(lengths))
            allowed = f"at most {most // len(lengths):,}, among {len(lengths):,} rows with histories as here"
            raise refused(self.where(row), "history", f"{longest:,} items", allowed)

    def check_alone(self) -> None:
        """Raise for the first row with a value that no row may have."""
        text = self.text
        users, user = np.unique(text["user"], return_inverse=True)
        is_hash = np.array([HASH.fullmatch(name) is not None for name in users])[user]
        checks: list[tuple[str, Any, np.ndarray, str]] = [
            ("request_id", text["request_id"], text["request_id"] != "", "text that is not empty"),
            (
                "user",
                text["user"],
                is_hash,
                f"a keyed hash of {2 * HASH_BYTES} hexadecimal digits",
            ),
            ("target", self.target, self.target >= 1, "an item, 1 or above"),
            ("position", self.position, self.position >= 0, "0 or above"),
            ("item", self.item, self.item >= 1, "an item, 1 or above"),
            ("temperature", self.temperature, _finite_from(self.temperature, 0), "0 (greedy) or above"),
            (
                "propensity",
                self.propensity,
                (self.propensity > 0) & (self.propensity <= 1),
                "above 0 and at most 1",
            ),
            (
                "outcome",
                text["outcome"],
                np.isin(text["outcome"], OUTCOMES),
                f"one of {', '.join(OUTCOMES)}",
            ),
            ("model", text["model"], text["model"] != "", "text that is not empty"),
        ]
        for column, values, right, allowed in checks:
            if not right.all():
                row = int(np.argmin(right))
                raise refused(self.where(row), column, values[row].item(), allowed)
        flat = self.flat.to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(~(flat >= 1))  # nulls are NaN here
        if len(wrong):
            row = int(np.searchsorted(self.begin, wrong[0], side="right")) - 1
            raise refused(self.where(row), "history", self.flat[int(wrong[0])].as_py(), "items, 1 or above")
        greedy = (self.temperature == 0) & (self.propensity < 1)
        if greedy.any():
            row = int(np.argmax(greedy))
            raise refused(
                self.where(row),
                "propensity",
                self.propensity[row].item(),
                "1 at temperature 0, which is greedy",
            )

    def _read_rules(self, texts: list[str]) -> list[Decoding]:
        """The distinct rules in `texts`, which `rule` numbers; from then on it numbers the distinct ones."""
        found: list[Decoding] = []
        places = np.zeros(len(texts), dtype=np.int64)
        for number, text in enumerate(texts):
            where = self.where(int(np.argmax(self.rule == number)))
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                raise refused(where, "rules", text, "the section `decoding` as JSON") from None
            try:
                blocked = values.pop("blocked", []) if isinstance(values, dict) else []
                rules = build(Decoding, values, "rules", where).blocking(_items(blocked, where))
            except ConfigError as error:
                raise DataError(str(error)) from None
            if rules.min_length < 1:
                allowed = "1 or above: an empty path has no row, and every mean would lack it"
                raise refused(where, "rules.min_length", rules.min_length, allowed)
            if rules not in found:
                found.append(rules)
            places[number] = found.index(rules)
        self.rule = places[self.rule]
        return found

    def requests(self) -> tuple[np.ndarray, np.ndarray]:
        """The request [s] of each row, in the order in which they first appear, and the first row [n] of
        each.
        """
        _, first, number = np.unique(self.text["request_id"], return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return place[number], first[order]

    def check_shared(self, request: np.ndarray, first: np.ndarray) -> None:
        """Raise for the first row that differs from its request's first one in what they share."""
        columns = self.text | {"target": self.target, "rules": self.rule, "temperature": self.temperature}
        columns["history"] = self.padded_history(np.arange(len(request)))
        for column in SHARED:
            values = columns[column]
            differs = values != values[first][request]
            differs = differs if differs.ndim == 1 else differs.any(1)
            if differs.any():
                row = int(np.argmax(differs))
                before = int(first[request[row]])
                raise refused(
                    self.where(row),
                    column,
                    self._told(column, row),
                    f"that of its request's first row, {self._told(column, before)!r} "
                    f"at {self.where(before)}: a request has one {column}",
                )

    def check_positions(self, request: np.ndarray, order: np.ndarray) -> None:
        """Raise where the positions of a request, rows in `order`, are not 0, 1, 2 .."""
        sorted_request = request[order]
        begin = np.searchsorted(sorted_request, np.arange(sorted_request[-1] + 1))
        expected = np.arange(len(order)) - begin[sorted_request]
        wrong = self.position[order] != expected
        if wrong.any():
            at = int(np.argmax(wrong))
            row, position = int(order[at]), int(self.position[order[at]])
            name = self.text["request_id"][row].item()
            if position < expected[at]:
                other = self.where(int(order[at - 1]))
                raise refused(
                    self.where(row), "position", position, f"once in request {name!r}; it is at {other} too"
                )
            raise refused(
                self.where(row), "position", position, f"{expected[at]}: request {name!r} has no row of it"
            )

    def padded_history(self, rows: np.ndarray) -> np.ndarray:
        """The histories of `rows`, [len(rows), h], with 0 before shorter ones."""
        length = np.diff(self.begin)[rows]
        place = np.arange(length.max(initial=0)) - (length.max(initial=0) - length[:, None])
        items = np.append(self.flat.to_numpy(zero_copy_only=False).astype(np.int64), 0)
        return np.where(place >= 0, items[np.where(place >= 0, self.begin[rows][:, None] + place, -1)], 0)

    def _told(self, column: str, row: int) -> object:
        if column == "history":
            return self.flat[int(self.begin[row]) : int(self.begin[row + 1])].to_pylist()
        if column == "rules":
            return rules_text(self.rules[self.rule[row]])
        return (self.text | {"target": self.target, "temperature": self.temperature})[column][row].item()


def _items(blocked: Any, where: str) -> list[int]:
    """The list `blocked` of a row's rules. Raises `DataError` where it holds anything but items."""
    if not isinstance(blocked, list) or not all(type(item) is int and item >= 1 for item in blocked):
        raise refused(where, "rules.blocked", blocked, "a list of items, 1 or above")
    return blocked


def _finite_from(values: np.ndarray, least: float) -> np.ndarray:
    return np.isfinite(values) & (values >= least)


def _check_paths(log: Log, where: Where) -> None:
    """Raise for the first row whose item the request's rules forbid, for one behind the item at which the
    user left, and for a path that is longer or shorter than the rules allow.
    """
    paths, request, position = log.paths, log.request, log.position
    last = position == log.length[request] - 1
    repeated = np.zeros(len(request), dtype=bool)
    for at in range(1, paths.shape[1]):
        here = position == at
        repeated[here] = (paths[request[here], :at] == log.item[here][:, None]).any(1)
    in_history = (log.history[request] == log.item[:, None]).any(1)
    broken = {"repeats": repeated, "history": in_history, "target": log.item == log.target[request]}
    for number, rules in enumerate(log.rules):
        own = log.rule[request] == number
        for rule in rules.forbid:
            _refuse_first(
                own & broken[rule], where, "item", log.item, f"none that `{rule}` in its rules forbids"
            )
        _refuse_first(
            own & np.isin(log.item, rules.blocked), where, "item", log.item, "none that its rules block"
        )
        allowed = f"below {rules.max_length}, its rules' max_length"
        _refuse_first(own & (position >= rules.max_length), where, "position", position, allowed)
        short = own & last & (position + 1 < rules.min_length) & (log.outcome != OUTCOMES.index(LEFT))
        allowed = f"a path of {rules.min_length} items, its rules' min_length, or one that ends with `{LEFT}`"
        _refuse_first(short, where, "position", position, allowed)
    left = (log.outcome == OUTCOMES.index(LEFT)) & ~last
    _refuse_first(left, where, "outcome", np.array(OUTCOMES)[log.outcome], f"`{LEFT}` at the last item alone")


def _refuse_first(wrong: np.ndarray, where: Where, column: str, values: np.ndarray, allowed: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise refused(where(row), column, values[row].item(), allowed)
