"""What `prepare` tells of a log: what was dropped and why, what was kept, and what is odd about it.

Shape key: `e` interactions, `u` users, `n` items.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from prorl.config.prepare import Prepare
from prorl.datasets.sources import RawLog
from prorl.paths.sequences import Removed
from prorl.paths.telling import LARGE_SHARE, Told, examples, percent

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them
N_EXAMPLES = 2
N_COMPARED = 2000  # undescribed ids that are compared with the described ones
MANY_REPEATS = 0.05  # of the interactions kept


def told_of_prepare(
    log: RawLog,
    row: np.ndarray,
    rows: np.ndarray,
    dropped: dict[str, Removed],
    items: pa.Table,
    statistics: dict[str, Any],
    settings: Prepare,
) -> Told:
    """Lines and warnings about `log`.

    row [e]: of each interaction the row of its item among `log.items`, -1 without one; rows: those, counted
    from 0, that are kept; dropped: what each filter removed; items: the table made; statistics: all counts.
    """
    shown, causes = _examples(log, row, rows), likely_causes(log, row, dropped, settings)
    return told_of_counts(dropped, items, statistics, settings, shown, [*log.told, *causes])


def told_of_counts(
    dropped: dict[str, Removed],
    items: pa.Table,
    statistics: dict[str, Any],
    settings: Prepare,
    shown: dict[str, str],
    warnings: list[str],
) -> Told:
    """`told_of_prepare` where the log itself is not at hand.

    shown: examples of what a filter dropped, by its name; warnings: those that come first.
    """
    raw, kept = statistics["raw"], statistics["kept"]
    lines = [f"raw: {_counts(raw)}"]
    if left_out := {name: count for name, count in statistics["unusable_records"].items() if count}:
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in left_out.items())
        lines.append(f"not usable, before that: {told}")
    for name, removed in dropped.items():
        if removed.interactions or removed.users or removed.items:
            lines.append(
                f"dropped, {_reason(name, settings)}: {removed.interactions:,} interactions "
                f"({percent(removed.interactions, raw['interactions'])}), {removed.users:,} users, "
                f"{removed.items:,} items{shown.get(name, '')}"
            )
    lines.append(f"kept: {_counts(kept)}, {percent(kept['interactions'], raw['interactions'])}")
    repeats = statistics["repeated_interactions"]
    lines.append(
        f"repeats: {repeats:,} interactions ({percent(repeats, kept['interactions'])}) with an item that "
        "the user "
        f"has another time too; prepare.repeats is {settings.repeats}"
    )
    without = statistics["items_without_attributes"]
    lines.append(
        f"attributes: {statistics['attributes']:,}; {without:,} items ({percent(without, kept['items'])}) "
        "have none; "
        f"{statistics['placeholders_left_out']:,} placeholders left out"
    )
    warnings = list(warnings)
    if repeats > MANY_REPEATS * kept["interactions"]:
        warnings.append(
            f"{percent(repeats, kept['interactions'])} of the interactions repeat an item of their user, "
            "and mined "
            "runs will; prepare.repeats: first or last keeps one of each"
        )
    return Told(lines, [*warnings, *_attributes_told(items, statistics)])


def likely_causes(log: RawLog, row: np.ndarray, dropped: dict[str, Removed], settings: Prepare) -> list[str]:
    """A warning for each filter that dropped more than a third of the log, with the likely cause."""
    n = len(log.user)
    causes: dict[str, Callable[[], str]] = {
        "items_without_description": lambda: _ids_differ(log, row),
        "repeats": lambda: "each user and item counts once",
        "users_below_minimum": lambda: _usual(log.user[row >= 0], "users"),
        "items_below_minimum": lambda: _usual(row[row >= 0], "items"),
    }
    large = [name for name, removed in dropped.items() if removed.interactions > LARGE_SHARE * n]
    total = sum(removed.interactions for removed in dropped.values())
    if not large and total > LARGE_SHARE * n:
        large = [max(dropped, key=lambda name: dropped[name].interactions)]
    return [
        f"{percent(dropped[name].interactions, n)} of the interactions are dropped, "
        f"{_reason(name, settings)}: "
        f"{causes[name]()}"
        for name in large
    ]


def _counts(counts: dict[str, int]) -> str:
    return (
        f"{counts['interactions']:,} interactions of {counts['users']:,} users with {counts['items']:,} items"
    )


def _reason(name: str, settings: Prepare) -> str:
    return {
        "items_without_description": "items that the source does not describe",
        "repeats": f"repeats, prepare.repeats = {settings.repeats}",
        "users_below_minimum": f"users below {settings.min_user_interactions}, prepare.min_user_interactions",
        "items_below_minimum": f"items below {settings.min_item_interactions}, prepare.min_item_interactions",
    }[name]


def _examples(log: RawLog, row: np.ndarray, rows: np.ndarray) -> dict[str, str]:
    """Two raw ids of items that each filter dropped; of undescribed ones, two described ones as well.

    Users are counted and not named: what a stage prints is kept where ids of users must not be.
    """
    undescribed = _ids(log.item_ids, _present(log.item[row < 0])[:N_EXAMPLES])
    return examples_shown(log.items, undescribed, _present(row[row >= 0], but=rows))


def examples_shown(catalogue: pd.DataFrame, undescribed: list[str], items: np.ndarray) -> dict[str, str]:
    """What is shown of each filter of items: ids that are not described, beside some of the `catalogue`; and
    `items`, rows of the catalogue that were dropped.
    """
    raw_ids = catalogue["raw_id"]
    known = ", ".join(map(repr, raw_ids.head(N_EXAMPLES)))
    return {
        "items_without_description": f"{examples(undescribed)}; described are {known}",
        "items_below_minimum": examples(raw_ids.iloc[items[:N_EXAMPLES]]),
    }


def _present(codes: np.ndarray, but: np.ndarray | None = None) -> np.ndarray:
    """The distinct `codes` [e], in increasing order, but for those in `but`, in linear time."""
    present = np.bincount(codes) > 0
    if but is not None:
        present[but] = False
    return np.flatnonzero(present)


def _ids(ids: pa.Array, places: np.ndarray) -> list[str]:
    return ids.take(pa.array(places)).to_pylist()


def _ids_differ(log: RawLog, row: np.ndarray) -> str:
    """Why ids of the interactions are not among those of the items, with one of each file."""
    described = log.items["raw_id"].tolist()
    undescribed = _ids(log.item_ids, _present(log.item[row < 0])[:N_COMPARED])
    for told, same in SPELLINGS.items():
        first = {same(raw_id): raw_id for raw_id in reversed(described)}
        pairs = [(raw_id, first[same(raw_id)]) for raw_id in undescribed if same(raw_id) in first]
        if 2 * len(pairs) > len(undescribed):
            one, other = pairs[0]
            return f"{told}; an item of the interactions is {one!r}, among the items it is {other!r}"
    return (
        "the two files may hold ids of different kinds; items of the "
        f"interactions{examples(undescribed[:N_EXAMPLES])}, "
        f"items that are described{examples(described[:N_EXAMPLES])}"
    )


# How one id may be spelt in two files, and what is then the same.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "leading zeros are lost in one file": lambda raw_id: raw_id.lstrip("0"),
    "whole numbers are written with decimals in one file": lambda raw_id: raw_id.removesuffix(".0"),
    "upper and lower case, or spaces, differ": lambda raw_id: "".join(raw_id.split()).lower(),
}


def _usual(codes: np.ndarray, kind: str) -> str:
    counts = np.bincount(codes)
    return f"half of the {kind} have at most {np.median(counts[counts > 0]):.0f} interactions"


def _attributes_told(items: pa.Table, statistics: dict[str, Any]) -> list[str]:
    """Warnings where attributes say little: many items without, one that most have, one for each item."""
    n, warnings = items.num_rows, []
    if (without := statistics["items_without_attributes"]) > LARGE_SHARE * n:
        warnings.append(
            f"{percent(without, n)} of the items have no attribute, and no transition from or to them is "
            "feasible: "
            "prepare.attributes names the fields, prepare.placeholders what counts as none"
        )
    names = pc.value_counts(pc.list_flatten(items["attributes"].combine_chunks()))
    if not len(names):
        return warnings
    counts = names.field("counts").to_numpy()
    most = int(counts.argmax())
    if len(names) > 1 and counts[most] > n / 2:
        warnings.append(
            f"{percent(int(counts[most]), n)} of the items have the attribute "
            f"{names.field('values')[most].as_py()!r}: "
            "where it says nothing, such as a placeholder, mine.ignored_attributes or prepare.placeholders "
            "leaves it out"
        )
    if len(names) > n / 2:
        warnings.append(
            f"{len(names):,} attributes for {n:,} items, so few items share one: perhaps "
            "prepare.tabular.separator "
            "never cuts, or another field has the attributes"
        )
    return warnings
