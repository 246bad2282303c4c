"""What `mine` tells of the instances: how many there are, runs by length, and repeated items."""

from typing import Any

import numpy as np
import pyarrow as pa

from prorl.paths.telling import LARGE_SHARE, Told, percent
from prorl.tables import SPLITS


def told_of_mine(tables: dict[str, pa.Table], statistics: dict[str, Any]) -> Told:
    """Lines and warnings about the instances of all splits; `statistics` are those of `mine`."""
    counts = {name: tables[name].num_rows for name in SPLITS}
    lengths = np.concatenate([_lengths(tables[name]["run"]) for name in SPLITS])
    repeats = sum(with_repeats(tables[name]) for name in SPLITS)
    return told_of_counts(counts, np.bincount(lengths), repeats, statistics)


def told_of_counts(
    counts: dict[str, int], by_length: np.ndarray, repeats: int, statistics: dict[str, Any]
) -> Told:
    """`told_of_mine` where the instances are not at hand: how many there are of each split, of each length,
    and with an item twice.
    """
    total = sum(counts.values())
    lines = ["instances: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())]
    shown = ", ".join(f"{by_length[size]:,} of {size}" for size in np.flatnonzero(by_length))
    lines.append(f"runs by length: {shown}")
    warnings = []
    lines.append(f"repeats: {repeats:,} instances ({percent(repeats, total)}) hold an item twice")
    if repeats > LARGE_SHARE * total:
        warnings.append(
            f"{percent(repeats, total)} of the instances hold an item twice, in history and run together; "
            "prepare.repeats: first or last keeps one interaction of each user and item"
        )
    if "runs_too_short" in statistics:  # mined, not imported
        lines.append(
            f"dropped runs: {statistics['runs_too_short']:,} too short, {statistics['runs_too_long']:,} too "
            "long, "
            f"{statistics['runs_open_at_end']:,} open at the end of a user's sequence"
        )
        warnings += _mining_told(statistics, total)
    return Told(lines, warnings)


def _mining_told(statistics: dict[str, Any], total: int) -> list[str]:
    warnings = []
    users = statistics["users"]
    short = statistics["users_shorter_than_history"] + statistics["users_without_item_after_history"]
    if short > LARGE_SHARE * users:
        warnings.append(
            f"{percent(short, users)} of the users have no interaction after a history: mine.history_length "
            "is "
            "long for this log"
        )
    if statistics["runs_too_long"] > LARGE_SHARE * (total + statistics["runs_too_long"]):
        warnings.append(
            f"{statistics['runs_too_long']:,} runs are longer than mine.max_run and dropped, {total:,} "
            "kept: an "
            "attribute that nearly all items have makes nearly every transition feasible; "
            "mine.ignored_attributes leaves it out"
        )
    return warnings


def _lengths(lists: pa.ChunkedArray) -> np.ndarray:
    return np.diff(lists.combine_chunks().offsets.to_numpy())


def with_repeats(table: pa.Table) -> int:
    """How many instances hold an item twice, in history and run together."""
    keys = []
    for name in ("history", "run"):
        lists = table[name].combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy())
        owner = np.repeat(np.arange(len(lists), dtype=np.int64), lengths)
        keys.append(owner << 32 | lists.flatten().to_numpy().astype(np.int64))
    ordered = np.sort(np.concatenate(keys))
    twice = ordered[1:][ordered[1:] == ordered[:-1]] >> 32
    return len(np.unique(twice))
