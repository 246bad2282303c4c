"""The files of instances that the method's authors release: what they hold, in our numbers.

`<start>.train`, `.val` and `.test` are JSON lists of `{"user", "inters": history, "proc_path": run}`. In
`.test` there is no `user`, and the last id of `proc_path` is the random target, which `target` repeats.
`<start>.datamaps` is a JSON of titles, attributes, and the raw ids behind internal ones. Whether entries name
users and items by raw or by internal ids differs from data set to data set, and no file says it: the reading
is taken that puts histories into the sequences of their users.

Shape key: `i` entries, `h` items of history, `e` interactions, `c` matches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prorl.errors import DataError
from prorl.files import read_json
from prorl.paths.sequences import Sequences
from prorl.tables import SPLITS

ENDINGS = dict(zip(SPLITS, ("train", "val", "test"), strict=True))
NAMED = ("train", "validation")  # the splits whose entries name their user
MAPS = ("itemid2title", "raw_item_id2attribute", "id2attribute")
RAW_OF = ("id2item", "id2user")  # raw ids by internal ones, in most of these files
NO_USER, SEVERAL_USERS = 0, -1  # in place of the user of a history that is of none, or of several


def released_files(start: str) -> list[Path]:
    """The files of the released instances with the common start `start`."""
    return [Path(f"{start}.{ending}") for ending in (*ENDINGS.values(), "datamaps")]


@dataclass(frozen=True)
class Entry:
    """One entry in our numbers: history and run, and how messages name its place."""

    where: str
    history: list[int]
    run: list[int]


@dataclass(frozen=True)
class Released:
    """All entries by split, with their users in our numbers.

    user: of each split [i]; in the test split `NO_USER` or `SEVERAL_USERS` where the history is no stretch of
    a sequence, or of several users'. candidates: the users of histories that are of several. reading: whether
    `items` and `users` are named by raw or internal ids. maps: the JSON `.datamaps`.
    """

    entries: dict[str, list[Entry]]
    user: dict[str, np.ndarray]
    candidates: np.ndarray
    reading: dict[str, str]
    maps: dict[str, Any]

    def test_histories(self) -> dict[str, int]:
        """How many histories of the test split are of one user, of none and of several."""
        user = self.user["test"]
        return {
            "of_one_user": int((user > 0).sum()),
            "of_no_user": int((user == NO_USER).sum()),
            "of_several_users": int((user == SEVERAL_USERS).sum()),
        }


@dataclass(frozen=True)
class _Interactions:
    """Who interacted with what: `user * stride + item` of every interaction, sorted [e]."""

    key: np.ndarray
    stride: int

    @classmethod
    def of(cls, sequences: Sequences, n_items: int) -> "_Interactions":
        key = sequences.users.astype(np.int64) * (n_items + 1) + sequences.items
        return cls(np.sort(key), n_items + 1)

    def all_of(self, user: np.ndarray, history: np.ndarray) -> np.ndarray:
        """Whether each `user` [i] interacted with all items of `history` [i, h], [i] bool.

        Not whether the history is a stretch of the sequence: released MovieLens logs are sorted by time as
        text, so that some histories join the two ends of a sequence.
        """
        asked = user[:, None] * self.stride + history
        place = np.minimum(np.searchsorted(self.key, asked), len(self.key) - 1)
        return (self.key[place] == asked).all(1)


def read_released(
    start: str, setting: str, sequences: Sequences, raw_items: Sequence[str], raw_users: Sequence[str]
) -> Released:
    """The released instances whose files start with `start`, which `setting` names.

    raw_items and raw_users: raw ids of items and users, from number 1 on. Raises `DataError` naming file and
    entry for a file of another form, an unknown item or user, a history of another length than the first, and
    a history with an item that its user never interacted with.
    """
    files = {split: Path(f"{start}.{ending}") for split, ending in ENDINGS.items()}
    raw = {split: _entries(path, split, setting) for split, path in files.items()}
    maps = _maps(Path(f"{start}.datamaps"), setting)
    interactions = _Interactions.of(sequences, len(raw_items))
    item_of, user_of, reading = _reading(raw, maps, interactions, raw_items, raw_users)
    entries = {
        split: [_entry(one, f"{files[split]}: entry {n}", item_of) for n, one in enumerate(of_split)]
        for split, of_split in raw.items()
    }
    width = len(entries["train"][0].history)
    for entry in (entry for of_split in entries.values() for entry in of_split):
        if len(entry.history) != width:
            raise DataError(
                f"{entry.where}: inters has {len(entry.history)} items, allowed: {width}, as many "
                "as in the first"
            )
    user = {}
    for split in NAMED:
        named = [str(one["user"]) for one in raw[split]]
        for entry, name in zip(entries[split], named, strict=True):
            if name not in user_of:
                raise DataError(
                    f"{entry.where}: user {name!r} is unknown, allowed: one of the {len(user_of)} in the "
                    f"prepared tables, by {reading['users']} id"
                )
        user[split] = np.array([user_of[name] for name in named])
        inside = interactions.all_of(user[split], _histories(entries[split]))
        if not inside.all():
            n = int(np.argmin(inside))
            raise DataError(
                f"{entries[split][n].where}: the history is not in the sequence of user {named[n]!r}, "
                "allowed: items that the user interacted with"
            )
    user["test"], candidates = _recovered(sequences, _histories(entries["test"]))
    return Released(entries, user, candidates, reading, maps)


def items_by_internal_id(maps: Any, item_of: dict[str, int]) -> dict[str, int]:
    """The items `item_of` raw ids by the internal ids of `maps`, the JSON of a `.datamaps` file."""
    return _by_internal_id(maps.get("id2item"), item_of)


def json_of(path: Path, setting: str) -> Any:
    """The JSON value in the file `path`. Raises `DataError` where it is not there or no JSON."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; {setting} names the common start of .train, .val, .test and .datamaps"
        )
    try:
        return read_json(path)
    except ValueError as error:
        raise DataError(str(error)) from error


def _entries(path: Path, split: str, setting: str) -> list[dict[str, Any]]:
    entries = json_of(path, setting)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: found {type(entries).__name__}, allowed: a list of at least one instance")
    needed = ("inters", "proc_path", "user" if split in NAMED else "target")
    for n, entry in enumerate(entries):
        missing = [name for name in needed if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise DataError(f"{path}: entry {n}: {missing[0]!r} is missing; needed: {', '.join(needed)}")
        for name in ("inters", "proc_path"):
            if not isinstance(entry[name], list) or not entry[name]:
                raise DataError(f"{path}: entry {n}: {name} is {entry[name]!r}, allowed: a list of item ids")
        if split == "test" and str(entry["target"]) != str(entry["proc_path"][-1]):
            raise DataError(
                f"{path}: entry {n}: target is {entry['target']!r}, "
                f"allowed: the last of proc_path, {entry['proc_path'][-1]!r}"
            )
    return entries


def _maps(path: Path, setting: str) -> dict[str, Any]:
    maps = json_of(path, setting)
    missing = [name for name in MAPS if not isinstance(maps, dict) or name not in maps]
    if missing:
        raise DataError(f"{path}: {missing[0]!r} is missing; needed: {', '.join(MAPS)}")
    for name in (*MAPS, *(name for name in RAW_OF if name in maps)):
        if not isinstance(maps[name], dict):
            raise DataError(f"{path}: {name} is {maps[name]!r}, allowed: an object")
    for item, attributes in maps["raw_item_id2attribute"].items():
        if not isinstance(attributes, list):
            raise DataError(
                f"{path}: raw_item_id2attribute: item {item!r} has {attributes!r}, allowed: a list of ids"
            )
    for name, texts in (("id2attribute", maps["id2attribute"]), ("id2item", maps.get("id2item", {}))):
        wrong = next((key for key, text in texts.items() if isinstance(text, list | dict)), None)
        if wrong is not None:
            raise DataError(f"{path}: {name}: {wrong!r} is {texts[wrong]!r}, allowed: text or a number")
    return maps


def _reading(
    raw: dict[str, list[dict[str, Any]]],
    maps: dict[str, Any],
    interactions: _Interactions,
    raw_items: Sequence[str],
    raw_users: Sequence[str],
) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """Items and users by the ids that entries name them by, and which ids those are.

    Of raw and internal ids, those under which the most histories lie in their users' sequences; raw ones
    where they are as many.
    """
    items = {"raw": {raw_id: number for number, raw_id in enumerate(raw_items, start=1)}}
    users = {"raw": {raw_id: number for number, raw_id in enumerate(raw_users, start=1)}}
    items["internal"] = items_by_internal_id(maps, items["raw"])
    users["internal"] = _by_internal_id(maps.get("id2user"), users["raw"])
    named = [entry for split in NAMED for entry in raw[split]]
    most, found = -1, ("raw", "raw")
    for of_items, item_of in items.items():
        for of_users, user_of in users.items():
            known = [
                (user_of[str(entry["user"])], [item_of[str(raw_id)] for raw_id in entry["inters"]])
                for entry in named
                if str(entry["user"]) in user_of and all(str(raw_id) in item_of for raw_id in entry["inters"])
            ]
            fitting = sum(
                int(interactions.all_of(np.array(user), np.array(history)).sum())
                for user, history in _of_equal_length(known)
            )
            if fitting > most:
                most, found = fitting, (of_items, of_users)
    return items[found[0]], users[found[1]], {"items": found[0], "users": found[1]}


def _of_equal_length(
    known: list[tuple[int, list[int]]],
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Users and histories, apart by the length of the history."""
    for length in sorted({len(history) for _, history in known}):
        alike = [pair for pair in known if len(pair[1]) == length]
        yield [user for user, _ in alike], [history for _, history in alike]


def _by_internal_id(raw_of: Any, number_of: dict[str, int]) -> dict[str, int]:
    pairs = raw_of.items() if isinstance(raw_of, dict) else ()
    return {internal: number_of[str(raw_id)] for internal, raw_id in pairs if str(raw_id) in number_of}


def _entry(entry: dict[str, Any], where: str, item_of: dict[str, int]) -> Entry:
    def known(raw_id: Any) -> int:
        if str(raw_id) not in item_of:
            raise DataError(
                f"{where}: item {raw_id!r} is unknown, "
                f"allowed: one of the {len(item_of)} in the prepared tables"
            )
        return item_of[str(raw_id)]

    return Entry(where, [known(one) for one in entry["inters"]], [known(one) for one in entry["proc_path"]])


def _histories(entries: list[Entry]) -> np.ndarray:
    return np.array([entry.history for entry in entries], dtype=np.int64)


def _recovered(sequences: Sequences, history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The user [i] in whose sequence `history` [i, h] is a stretch, `NO_USER` or `SEVERAL_USERS`; and the
    users of histories that are of several.
    """
    entry, user = matches(sequences, history)
    n_users = np.bincount(entry, minlength=len(history))
    found = np.full(len(history), NO_USER)
    found[entry] = user
    found[n_users > 1] = SEVERAL_USERS
    return found, np.unique(user[n_users[entry] > 1])


def matches(sequences: Sequences, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry [c] and user [c] of every user in whose sequence a row of `stretch` [i, h] stands, in order.

    Plainly: compare each row with every `h` items in a row of every user. Here both are first compared by one
    number, a sum of items times random odd numbers, and by item only where that is the same.
    """
    items, width = sequences.items.astype(np.int64), stretch.shape[1]
    ends = np.repeat(sequences.offsets[1:], sequences.lengths)
    start = np.flatnonzero(np.arange(len(items)) + width <= ends)
    factors = np.random.default_rng(0).integers(2**62, size=width) * 2 + 1
    key = np.zeros(len(start), dtype=np.int64)
    asked = np.zeros(len(stretch), dtype=np.int64)
    for column, factor in enumerate(factors):  # products wrap around, in both alike
        key += items[start + column] * factor
        asked += stretch[:, column].astype(np.int64) * factor
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(key[order], asked, side="left")
    count = np.searchsorted(key[order], asked, side="right") - first
    entry = np.repeat(np.arange(len(stretch)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    place = start[order[first[entry] + within]]
    same = (items[place[:, None] + np.arange(width)] == stretch[entry]).all(1)
    entry, user = entry[same], sequences.users[place[same]]
    order = np.lexsort((user, entry))
    entry, user = entry[order], user[order]
    first = np.ones(len(entry), dtype=bool)  # a row may stand in a sequence several times
    first[1:] = (entry[1:] != entry[:-1]) | (user[1:] != user[:-1])
    return entry[first], user[first]
