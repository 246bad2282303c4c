"""What workers do with a part of the log in which all interactions of its users stand.

Shape key: `e` interactions of a part, `u` users of a part, `n` items that the source describes.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.datasets.delimited import pc
from prorl.datasets.sources import coded
from prorl.paths.prepare_told import N_EXAMPLES
from prorl.paths.preparing import repetitions, without_repeats
from prorl.paths.sequences import chronological
from prorl.spark.splits import COUNTS, batches_of
from prorl.tables import INTERACTIONS, LEFT_OUT, SPLITS, USER_SPLITS, part_path, write_table

# Of an interaction: its user's first position, which numbers users as the log does; its item's row; on the
# user's first row the raw id. Of a count: COUNT as user, `item` and `timestamp` as in `ROWS`. Of an item that
# is not described: UNDESCRIBED as user, its id as raw_id; of the first of them also EXAMPLE as user, and its
# first position as timestamp.
COUNT, UNDESCRIBED, EXAMPLE = -1, -2, -3
SEQUENCED = pa.schema(
    [("user", pa.int64()), ("item", pa.int32()), ("timestamp", pa.int64()), ("raw_id", pa.string())]
)
# Interactions of each item that stay; in place of an item, of which it is a count: see `counted`.
COUNTED = pa.schema([("item", pa.int32()), ("n", pa.int64())])
USERS_BEFORE, USERS_AFTER = -1, -2
KEPT_USERS = pa.schema([("user", pa.int64()), ("n", pa.int32())])
DEALT = pa.schema(
    [
        ("part", pa.int32()),
        ("user", pa.int64()),
        ("place", pa.int64()),
        ("item", pa.int32()),
        ("timestamp", pa.int64()),
        ("raw_id", pa.string()),
    ]
)
WRITTEN = pa.schema([("told", pa.string())])  # JSON, one for each part


def mapping(
    function: Callable[[pa.Table], pa.Table], schema: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """`function` of a whole part with columns of `schema`, as Spark's `mapInArrow` calls it."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        part = pa.Table.from_batches(held).cast(schema) if held else schema.empty_table()
        yield from batches_of(function(part))

    return run


def sequenced(rows: pa.Table, repeats: str) -> pa.Table:
    """The interactions of `ROWS` with items that are described, user after user in chronological order, and
    counts, as `SEQUENCED`; `repeats` as `prepare.repeats` says.
    """
    counts = rows.filter(pc.less(rows["position"], 0))
    rows = rows.filter(pc.greater_equal(rows["position"], 0))
    rows = rows.take(pa.array(np.argsort(rows["position"].to_numpy(), kind="stable")))
    user, raw_ids = coded(rows["user"])
    row, timestamp = rows["item"].to_numpy(), rows["timestamp"].to_numpy()
    first = rows["position"].to_numpy()[_first_of_each(user)]
    kept, repeated = without_repeats(user, row, timestamp, np.flatnonzero(row >= 0), repeats)
    kept = kept[chronological(user[kept], timestamp[kept])]
    user_kept = user[kept]
    starts = np.flatnonzero(np.diff(user_kept, prepend=-1))
    names = np.full(len(kept), -1)
    names[starts] = user_kept[starts]
    log = pa.table(
        {
            "user": first[user_kept],
            "item": row[kept],
            "timestamp": timestamp[kept],
            "raw_id": raw_ids.take(pa.array(names, mask=names < 0)),
        },
        schema=SEQUENCED,
    )
    own = {
        "interactions": len(user),
        "users": len(raw_ids),
        "undescribed": int((row < 0).sum()),
        "described_users": len(np.unique(user[row >= 0])),
        "repeats": repeated.interactions,
    }
    lost = pc.unique(rows["raw_item"]).drop_null()  # in the order of their first positions
    shown = lost.slice(0, N_EXAMPLES)
    places = [pc.index(rows["raw_item"], raw_id).as_py() for raw_id in shown]
    return pa.concat_tables(
        [
            log,
            _marked(COUNT, [COUNTS.index(name) for name in own], list(own.values())),
            _marked(COUNT, counts["item"].to_numpy(), counts["timestamp"].to_numpy()),
            _marked(UNDESCRIBED, [-1] * len(lost), [0] * len(lost), lost),
            _marked(EXAMPLE, [-1] * len(shown), rows["position"].to_numpy()[places], shown),
        ]
    )


def _first_of_each(codes: np.ndarray) -> np.ndarray:
    """The place of each code's first appearance; codes are numbered in order of appearance."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))


def _marked(mark: int, item: Any, timestamp: Any, raw_id: pa.Array | None = None) -> pa.Table:
    n = len(item)
    columns = {
        "user": np.full(n, mark),
        "item": np.asarray(item, dtype=np.int32),
        "timestamp": np.asarray(timestamp, dtype=np.int64),
        "raw_id": pa.nulls(n, pa.string()) if raw_id is None else raw_id,
    }
    return pa.table(columns, schema=SEQUENCED)


@dataclass(frozen=True)
class Filter:
    """The state of the k-core at some filter: which items [n] are left, and which were when users were last
    counted, None where they never were; `min_user` as set.
    """

    items: np.ndarray
    earlier: np.ndarray | None
    min_user: int

    def counted(self, part: pa.Table) -> pa.Table:
        """Interactions of each item after users below the minimum are dropped, as `COUNTED`, and the users
        before and after.
        """
        user, item = part["user"].to_numpy(), part["item"].to_numpy()
        group = _groups(user)
        left = self.items[item]
        if self.earlier is not None:
            left &= self._stay(group, self.earlier[item])
        before = len(np.unique(group[left]))
        left &= self._stay(group, left)
        counts = np.bincount(item[left], minlength=1)
        present = np.flatnonzero(counts)
        return pa.table(
            {
                "item": np.concatenate([present, [USERS_BEFORE, USERS_AFTER]]).astype(np.int32),
                "n": np.concatenate([counts[present], [before, len(np.unique(group[left]))]]).astype(
                    np.int64
                ),
            },
            schema=COUNTED,
        )

    def kept(self, part: pa.Table) -> np.ndarray:
        """Which interactions of a part [e] stay."""
        left = self.items[part["item"].to_numpy()]
        return left & self._stay(_groups(part["user"].to_numpy()), left)

    def kept_users(self, part: pa.Table) -> pa.Table:
        """The users who stay, and their interactions, as `KEPT_USERS`."""
        user = part["user"].to_numpy()[self.kept(part)]
        starts = np.flatnonzero(np.diff(user, prepend=-1))
        n = np.diff(starts, append=len(user))
        return pa.table({"user": user[starts], "n": n.astype(np.int32)}, schema=KEPT_USERS)

    def _stay(self, group: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Of interactions [e] whether their user has enough of those `left` [e]."""
        return (np.bincount(group[left], minlength=1 + group.max(initial=0)) >= self.min_user)[group]


def _groups(user: np.ndarray) -> np.ndarray:
    """The number of each user [e] among those of the part, whose interactions stand together."""
    return np.cumsum(np.diff(user, prepend=user[:1]) != 0)


def interactions_of(part: pa.Table) -> pa.Table:
    """The interactions of a part alone, without counts."""
    return part.filter(pc.greater_equal(part["user"], 0))


@dataclass(frozen=True)
class Dealing:
    """How kept users are dealt to the parts of the canonical tables.

    core: what is kept; numbers [n]: of each kept item, from 1; first: of each part the user that begins it.
    """

    core: Filter
    numbers: np.ndarray
    first: np.ndarray

    def dealt(self, part: pa.Table) -> pa.Table:
        """The kept interactions, each with its part, as `DEALT`."""
        kept = np.flatnonzero(self.core.kept(part))
        user = part["user"].to_numpy()
        starts = np.flatnonzero(np.diff(user[kept], prepend=-1))
        names = np.full(len(kept), -1)
        names[starts] = np.flatnonzero(np.diff(user, prepend=-1))[_groups(user)[kept[starts]]]
        return pa.table(
            {
                "part": (np.searchsorted(self.first, user[kept], side="right") - 1).astype(np.int32),
                "user": user[kept],
                "place": kept,
                "item": self.numbers[part["item"].to_numpy()[kept]],
                "timestamp": part["timestamp"].to_numpy()[kept],
                "raw_id": part["raw_id"].combine_chunks().take(pa.array(names, mask=names < 0)),
            },
            schema=DEALT,
        )


@dataclass(frozen=True)
class Writing:
    """Where parts of the canonical tables are written: folders, the users before each part, and all users'
    places in `SPLITS`.
    """

    interactions: str
    splits: str
    before: np.ndarray
    split: np.ndarray

    def written(self, dealt: pa.Table) -> pa.Table:
        """Write the parts that `dealt` holds, and tell of each, as `WRITTEN`."""
        parts = np.unique(dealt["part"].to_numpy()).tolist()
        told = [json.dumps(self._write(part, dealt.filter(pc.equal(dealt["part"], part)))) for part in parts]
        return pa.table({"told": told}, schema=WRITTEN)

    def _write(self, part: int, rows: pa.Table) -> dict[str, Any]:
        user, place = rows["user"].to_numpy(), rows["place"].to_numpy()
        rows = rows.take(pa.array(chronological(user, place)))  # by place, which follows time and file
        own = _groups(rows["user"].to_numpy())
        number = (self.before[part] + 1 + own).astype(np.int32)
        item, timestamp = rows["item"].to_numpy(), rows["timestamp"].to_numpy()
        interactions = pa.table({"user": number, "item": item, "timestamp": timestamp})
        write_table(part_path(Path(self.interactions), part), interactions, INTERACTIONS)
        raw_ids = rows["raw_id"].combine_chunks().drop_null()
        split = self.split[self.before[part] : self.before[part] + len(raw_ids)]
        users = pa.table(
            {
                "user": (self.before[part] + 1 + np.arange(len(raw_ids))).astype(np.int32),
                "raw_id": raw_ids,
                "split": pa.array([*SPLITS, LEFT_OUT]).take(pa.array(split)),
            }
        )
        write_table(part_path(Path(self.splits), part), users, USER_SPLITS)
        return {
            **repetitions(number, item, timestamp),
            **{name: int((split[own] == place).sum()) for place, name in enumerate(SPLITS)},
        }


def as_spark(schema: pa.Schema) -> str:
    """`schema` as Spark writes it."""
    names = {pa.int64(): "long", pa.int32(): "int", pa.string(): "string"}
    return ", ".join(f"{field.name} {names[field.type]}" for field in schema)
