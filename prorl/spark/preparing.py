"""From a log of any size to the canonical tables, on Apache Spark: the same rows and counts as `prepare`.

Files are read in pieces, and interactions dealt to parts by their user, once. Each part is then sorted by
user, time and position, and kept on the workers' disks. The k-core goes by counts: pass after pass, each part
counts the items of its users who stay, until nothing changes. What stays is dealt again, by the users' final
numbers, into the parts that are written.
"""

import dataclasses
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.prepare import Prepare
from prorl.config.section import ConfigError
from prorl.datasets.sources import Source
from prorl.datasets.tabular import ELSEWHERE, TABULAR, present, read_catalogue
from prorl.errors import DataError
from prorl.files import atomic_folder
from prorl.paths.prepare_told import N_EXAMPLES, examples_shown, told_of_counts
from prorl.paths.preparing import item_counts, item_table, nothing_left, refuse_twice
from prorl.paths.sequences import Removed, split_users
from prorl.paths.telling import Told
from prorl.spark.kernels import (
    COUNT,
    COUNTED,
    DEALT,
    EXAMPLE,
    KEPT_USERS,
    SEQUENCED,
    UNDESCRIBED,
    USERS_AFTER,
    USERS_BEFORE,
    WRITTEN,
    Dealing,
    Filter,
    Writing,
    as_spark,
    interactions_of,
    mapping,
    sequenced,
)
from prorl.spark.session import spark_session
from prorl.spark.splits import COUNTS, ROWS, Reading, batches_of, pieces_of
from prorl.tables import SPLITS, parts_of


@dataclass(frozen=True)
class PreparedParts:
    """The table of items of one data set, counts of what each filter dropped, and what is told of it.

    Interactions and users are written already.
    """

    items: pa.Table
    statistics: dict[str, Any]
    told: Told


@dataclass(frozen=True)
class Count:
    """The log at some filter: its users, and the interactions of each item [n]."""

    users: int
    items: np.ndarray

    @property
    def interactions(self) -> int:
        """All interactions."""
        return int(self.items.sum())

    def less(self, other: "Count", removed: Removed) -> None:
        """Add to `removed` what `other`, after a filter, lacks of this."""
        removed.interactions += self.interactions - other.interactions
        removed.users += self.users - other.users
        removed.items += int((self.items > 0).sum() - (other.items > 0).sum())


def prepare_by_spark(
    source: Source, raw: Path, settings: Prepare, seed: int, interactions: Path, splits: Path
) -> PreparedParts:
    """`prepare` of the log in the folder `raw`, whose interactions and users are written as folders of parts.

    Raises `ConfigError` for what Spark cannot do: a source that is not `tabular`, and `prepare.split_from`;
    `DataError` as `prepare` does.
    """
    if source is not TABULAR:
        raise ConfigError("prepare.engine: got spark, allowed for sources that are not tabular: local")
    if settings.split_from is not None:
        raise ConfigError("prepare.engine: got spark, allowed where prepare.split_from is set: local")
    catalogue, unusable, told = read_catalogue(raw, settings)
    described = pa.array(catalogue["raw_id"], pa.string())
    refuse_twice(described)
    path = present(raw, "interactions")
    place = path.read_text(encoding="utf-8") if path.suffix == ELSEWHERE else str(path.resolve())
    with spark_session(settings.spark, "prepare.engine") as session:
        log = _Log(session, place, described, settings)
        counts, undescribed, undescribed_ids = log.counts()
        _require_one_kind(place, counts)
        if counts["without_user"] or counts["without_item"]:
            unusable |= {f"interactions_{name}": counts[name] for name in ("without_user", "without_item")}
        if not counts["interactions"]:
            left_out = f"; left out were {unusable}" if any(unusable.values()) else ""
            raise DataError(f"{path}: holds no interaction{left_out}")
        everything = log.count(np.ones(len(described), dtype=bool), None, 1)
        n_described = int((everything.items > 0).sum())
        dropped = {
            "items_without_description": Removed(
                counts["undescribed"], counts["users"] - counts["described_users"], undescribed
            ),
            "repeats": Removed(counts["repeats"]),
        }
        core = _k_core(log, everything, settings, dropped)
        if not core.left.interactions:
            raise DataError(nothing_left(counts["interactions"], dropped, settings))
        rows = np.flatnonzero(core.left.items)
        items, placeholders = item_table(catalogue.iloc[rows], settings)
        split = split_users(core.left.users, settings.split, seed)
        with atomic_folder(interactions) as own, atomic_folder(splits) as users:
            written = log.write(core.filter, core.left, split, own.resolve(), users.resolve())
            for folder in (own, users):
                _remove_others(folder)
    sums = {name: sum(part[name] for part in written) for name in written[0]}
    statistics = {
        "raw": {
            "interactions": counts["interactions"],
            "users": counts["users"],
            "items": n_described + undescribed,
        },
        "unusable_records": unusable,
        "dropped": {name: dataclasses.asdict(removed) for name, removed in dropped.items()},
        "k_core_filters_run": core.rounds,
        "kept": {
            "interactions": core.left.interactions,
            "users": core.left.users,
            "items": len(rows),
        },
        "split": {
            name: {"users": int((split == place).sum()), "interactions": sums[name]}
            for place, name in enumerate(SPLITS)
        },
        "repeated_interactions": sums["repeated_interactions"],
        "same_time_as_previous": sums["same_time_as_previous"],
        **item_counts(items, placeholders),
    }
    lost_items = np.flatnonzero((everything.items > 0) & (core.left.items == 0))
    shown = examples_shown(catalogue, undescribed_ids, lost_items)
    return PreparedParts(items, statistics, told_of_counts(dropped, items, statistics, settings, shown, told))


def _require_one_kind(place: str, counts: dict[str, int]) -> None:
    """Raise `DataError` where times are written as numbers in some files and as dates in others."""
    if counts["whole_times"] and counts["dates"]:
        raise DataError(
            f"{place}: timestamps are whole numbers in {counts['whole_times']:,} rows, and in files with "
            f"{counts['dates']:,} rows there are dates; allowed: one form in all files"
        )


def _remove_others(folder: Path) -> None:
    """Remove what a worker that was stopped left half written in the folder of a table."""
    parts = set(parts_of(folder))
    for file in folder.iterdir():
        if file not in parts:
            file.unlink()


class _Log:
    """A log on the workers, dealt by user, and what is asked of it."""

    def __init__(self, session: Any, place: str, described: pa.Array, settings: Prepare):
        self._context, self._functions = (
            session.sparkContext,
            importlib.import_module("pyspark.sql.functions"),
        )
        self._n_items, self._n_parts = len(described), settings.spark.partitions
        pieces = pieces_of(place, settings.tabular)
        shared = self._context.broadcast((Reading(place, settings.tabular, described), pieces))
        repeats = settings.repeats

        def read(batches: Any) -> Iterator[pa.RecordBatch]:
            reading, pieces = shared.value
            for batch in batches:
                for number in batch.column("id").to_pylist():
                    yield from batches_of(reading.rows(pieces[number]))

        rows = session.range(0, len(pieces), 1, len(pieces)).mapInArrow(read, as_spark(ROWS))
        by_user = rows.repartition(self._n_parts, "user")
        sequences = by_user.mapInArrow(
            mapping(lambda part: sequenced(part, repeats), ROWS), as_spark(SEQUENCED)
        )
        level: Any = importlib.import_module("pyspark").StorageLevel
        self._parts = sequences.persist(level.DISK_ONLY)

    def counts(self) -> tuple[dict[str, int], int, list[str]]:
        """Counts of the reading, see `COUNTS`, the number of distinct items that are not described, and the
        ids of the first of these in the log.
        """
        of = self._functions
        marked = self._parts.where(of.col("user") < 0).groupBy("user", "item")
        shown = of.when(of.col("user") == EXAMPLE, of.struct("timestamp", "raw_id"))  # few of each part
        told = marked.agg(
            of.sum(of.when(of.col("user") == COUNT, of.col("timestamp"))).alias("n"),
            of.count_distinct("raw_id").alias("ids"),
            of.collect_list(shown).alias("shown"),
        ).collect()
        sums = {row["item"]: row["n"] for row in told if row["user"] == COUNT}
        lost = sum(row["ids"] for row in told if row["user"] == UNDESCRIBED)
        firsts = sorted((one["timestamp"], one["raw_id"]) for row in told for one in row["shown"])
        ids = list(dict.fromkeys(raw_id for _, raw_id in firsts))[:N_EXAMPLES]
        return {name: sums.get(place, 0) for place, name in enumerate(COUNTS)}, lost, ids

    def count(self, items: np.ndarray, earlier: np.ndarray | None, min_user: int) -> "_Counted":
        """The log after users below the minimum are dropped, of the `items` [n] left, see `Filter`."""
        shared = self._context.broadcast(Filter(items, earlier, min_user))
        counted = self._parts.mapInArrow(
            mapping(lambda part: shared.value.counted(interactions_of(part)), SEQUENCED), as_spark(COUNTED)
        )
        table = counted.groupBy("item").agg(self._functions.sum("n").alias("n")).toArrow()
        item, n = table["item"].to_numpy(), table["n"].to_numpy()
        found = np.zeros(self._n_items, dtype=np.int64)
        found[item[item >= 0]] = n[item >= 0]
        users = {mark: int(n[item == mark].sum()) for mark in (USERS_BEFORE, USERS_AFTER)}
        shared.unpersist()
        return _Counted(users[USERS_AFTER], found, users[USERS_BEFORE])

    def write(
        self, core: Filter, left: Count, split: np.ndarray, interactions: Path, splits: Path
    ) -> list[dict[str, int]]:
        """Write what the `core` keeps as parts of about as many interactions, and what is told of each."""
        shared = self._context.broadcast(core)
        kept = self._parts.mapInArrow(
            mapping(lambda part: shared.value.kept_users(interactions_of(part)), SEQUENCED),
            as_spark(KEPT_USERS),
        ).toArrow()
        user, n = kept["user"].to_numpy(), kept["n"].to_numpy()
        order = np.argsort(user)
        user, n = user[order], n[order]
        size = -(-left.interactions // self._n_parts)
        begins = np.flatnonzero(np.diff((np.cumsum(n) - n) // size, prepend=-1))
        numbers = np.cumsum(left.items > 0).astype(np.int32)
        dealing = self._context.broadcast(Dealing(core, numbers, user[begins]))
        writing = self._context.broadcast(Writing(str(interactions), str(splits), begins, split))
        dealt = self._parts.mapInArrow(
            mapping(lambda part: dealing.value.dealt(interactions_of(part)), SEQUENCED), as_spark(DEALT)
        )
        told = dealt.repartitionById(len(begins), "part").mapInArrow(
            mapping(lambda part: writing.value.written(part), DEALT), as_spark(WRITTEN)
        )
        return [json.loads(row["told"]) for row in told.collect()]


@dataclass(frozen=True)
class _Counted(Count):
    """The log after users were filtered; `users_before` that, of items left, users had any."""

    users_before: int


@dataclass(frozen=True)
class _Core:
    """The filter that gives the k-core, what it leaves, and how many filters were run."""

    filter: Filter
    left: Count
    rounds: int


def _k_core(log: _Log, everything: Count, settings: Prepare, dropped: dict[str, Removed]) -> _Core:
    """The k-core, filter after filter as `k_core` runs them; what each kind removed goes into `dropped`."""
    of_users = dropped["users_below_minimum"] = Removed()
    of_items = dropped["items_below_minimum"] = Removed()
    left, earlier, rounds, settled = everything, None, 0, 0
    while settled < 2 and left.interactions:
        items = left.items > 0
        if rounds % 2 == 0:
            after = log.count(items, earlier, settings.min_user_interactions)
            if rounds:  # only now is it known how many users the filter of items left
                of_items.users += left.users - after.users_before
                left = Count(after.users_before, left.items)
            left.less(after, of_users)
            settled = settled + 1 if after.interactions == left.interactions else 0
            left, earlier = Count(after.users, after.items), items
        else:
            stays = left.items >= settings.min_item_interactions
            after = Count(left.users, np.where(stays, left.items, 0))
            settled = settled + 1 if after.interactions == left.interactions else 0
            left.less(after, of_items)
            left = after
        rounds += 1
    if not left.interactions:  # whose interactions went last is no user that is left
        of_items.users += left.users
    return _Core(Filter(left.items > 0, None, settings.min_user_interactions), left, rounds)
