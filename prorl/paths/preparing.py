"""From a raw log to the canonical tables: filters, chronological order, numbers, the split of users."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from prorl.config.prepare import Prepare
from prorl.datasets.profiles import attribute_lists, item_texts, read_profiles, without_placeholders
from prorl.datasets.sources import RawLog
from prorl.errors import DataError
from prorl.paths.prepare_told import likely_causes, told_of_prepare
from prorl.paths.released_split import released_split
from prorl.paths.sequences import (
    Core,
    Removed,
    chronological,
    distinct,
    k_core,
    split_users,
    user_sequences,
)
from prorl.paths.telling import Told
from prorl.tables import LEFT_OUT, SPLITS

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them


@dataclass(frozen=True)
class Prepared:
    """The canonical tables of one data set, counts of what each filter dropped, and what is told of it."""

    interactions: pa.Table
    items: pa.Table
    splits: pa.Table
    statistics: dict[str, Any]
    told: Told


def prepare(log: RawLog, settings: Prepare, seed: int) -> Prepared:
    """The canonical tables of `log`.

    Drop interactions with items that the source does not describe, and repeated ones where `settings.repeats`
    says so, take the k-core, sort by user and time, split the users, at random or as `settings.split_from`
    says. settings: with the source's own choices in place of null, see `Source.completed`. Users are numbered
    in order of first appearance in the log, items in the order in which the source lists them. Raises
    `DataError` if nothing is left or an item is described twice, and as `released_split` does, `ConfigError`
    for unknown fields.
    """
    described = pa.array(log.items["raw_id"], pa.string())
    refuse_twice(described)
    # For each interaction [e] the row of its item in the source's list, -1 without one.
    row = pc.index_in(log.item_ids, value_set=described).fill_null(-1).to_numpy()[log.item]
    kept = np.flatnonzero(row >= 0)
    kept, repeated = without_repeats(log.user, row, log.timestamp, kept, settings.repeats)
    core = k_core(log.user[kept], row[kept], settings.min_user_interactions, settings.min_item_interactions)
    kept = kept[core.kept]
    dropped = _dropped(log, row, repeated, core)
    if not len(kept):
        causes = "; ".join(likely_causes(log, row, dropped, settings))
        raise DataError(nothing_left(len(log.user), dropped, settings) + (causes and f"; {causes}"))

    (user_codes, user), (rows, item) = _numbered(log.user[kept]), _numbered(row[kept])
    timestamp = log.timestamp[kept]
    order = chronological(user, timestamp)
    user, item, timestamp = user[order], item[order], timestamp[order]
    interactions = pa.table({"user": user, "item": item, "timestamp": timestamp})
    items, placeholders = item_table(log.items.iloc[rows], settings)
    raw_users = log.user_ids.take(pa.array(user_codes))
    of_released = {}
    if settings.split_from is None:
        split = split_users(len(user_codes), settings.split, seed)
    else:
        split, counts = released_split(
            settings.split_from,
            user_sequences(interactions),
            items["raw_id"].to_pylist(),
            raw_users.to_pylist(),
        )
        of_released = {"split_from": counts}
    splits = pa.table(
        {
            "user": np.arange(1, len(user_codes) + 1, dtype=np.int32),
            "raw_id": raw_users,
            "split": pa.array([*SPLITS, LEFT_OUT]).take(pa.array(split)),
        }
    )
    statistics = {
        "raw": {"interactions": len(log.user), "users": len(log.user_ids), "items": len(log.item_ids)},
        "unusable_records": log.unusable,
        "dropped": {name: dataclasses.asdict(removed) for name, removed in dropped.items()},
        "k_core_filters_run": core.rounds,
        "kept": {"interactions": len(user), "users": len(user_codes), "items": len(rows)},
        "split": {
            name: {"users": int((split == i).sum()), "interactions": int((split[user - 1] == i).sum())}
            for i, name in enumerate(SPLITS)
        },
        **of_released,
        **repetitions(user, item, timestamp),
        **item_counts(items, placeholders),
    }
    told = told_of_prepare(log, row, rows, dropped, items, statistics, settings)
    return Prepared(interactions, items, splits, statistics, told)


def repetitions(user: np.ndarray, item: np.ndarray, timestamp: np.ndarray) -> dict[str, int]:
    """How many interactions, sorted by user and time, repeat an item of their user, or have the time of the
    one before.
    """
    same_user = user[1:] == user[:-1]
    pairs = np.sort(_pairs(user, item))
    return {
        "repeated_interactions": int((pairs[1:] == pairs[:-1]).sum()),
        "same_time_as_previous": int((same_user & (timestamp[1:] == timestamp[:-1])).sum()),
    }


def item_counts(items: pa.Table, placeholders: int) -> dict[str, int]:
    """Counts of the table of items, from which so many `placeholders` were left out."""
    return {
        "items_without_attributes": int(
            pc.sum(pc.equal(pc.list_value_length(items["attributes"]), 0)).as_py()
        ),
        "placeholders_left_out": placeholders,
        "items_without_title": int(pc.sum(pc.equal(items["title"], "")).as_py()),
        "attributes": len(pc.unique(pc.list_flatten(items["attributes"]))),
    }


def _pairs(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """A number for each pair of user [e] and item [e], [e] int64."""
    return user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item


def without_repeats(
    user: np.ndarray, row: np.ndarray, timestamp: np.ndarray, kept: np.ndarray, repeats: str
) -> tuple[np.ndarray, Removed]:
    """Those of the positions `kept` in a log that stay, in file order, and what was removed.

    user [e], row [e] and timestamp [e]: of each interaction, `row` the item's in the source's list.
    Of several interactions of one user with one item the first in time stays, or the last; of those at one
    time, the first or last in the file.
    """
    if repeats == "keep":
        return kept, Removed()
    order = kept[chronological(user[kept], timestamp[kept])]
    if repeats == "last":
        order = order[::-1]
    _, first = np.unique(_pairs(user[order], row[order]), return_index=True)
    return np.sort(order[first]), Removed(interactions=len(kept) - len(first))


def _numbered(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct `codes` [e] in increasing order, and each code's place among them, [e] int32 from 1."""
    present = np.flatnonzero(np.bincount(codes))
    number = np.zeros(present[-1] + 1, dtype=np.int32)
    number[present] = np.arange(1, len(present) + 1)
    return present, number[codes]


def refuse_twice(raw_ids: pa.Array) -> None:
    """Raise `DataError` if an item is described more than once."""
    counts = raw_ids.value_counts()
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise DataError(
            f"{len(twice)} items are described more than once, the first is {twice[0].as_py()!r}; "
            "allowed: once"
        )


def _dropped(log: RawLog, row: np.ndarray, repeated: Removed, core: Core) -> dict[str, Removed]:
    """What each filter removed, by the filter's name."""
    described = row >= 0
    undescribed = Removed(
        interactions=int((~described).sum()),
        users=len(log.user_ids) - distinct(log.user[described]),
        items=distinct(log.item[~described]),
    )
    return {
        "items_without_description": undescribed,
        "repeats": repeated,
        "users_below_minimum": core.users,
        "items_below_minimum": core.items,
    }


def nothing_left(n_interactions: int, dropped: dict[str, Removed], settings: Prepare) -> str:
    """What is said of a log of which the filters leave nothing."""
    min_user, min_item = settings.min_user_interactions, settings.min_item_interactions
    told = {
        "items_without_description": "interactions with items that the source does not describe",
        "repeats": f"repeats, of which prepare.repeats = {settings.repeats} keeps one",
        "users_below_minimum": f"users with fewer than prepare.min_user_interactions = {min_user}",
        "items_below_minimum": f"items with fewer than prepare.min_item_interactions = {min_item}",
    }
    parts = [
        f"{told[name]}: {part.interactions} interactions, {part.users} users, {part.items} items"
        for name, part in dropped.items()
        if name != "repeats" or part.interactions
    ]
    return f"nothing is left of {n_interactions} interactions; dropped were {'; '.join(parts)}"


def item_table(items: pd.DataFrame, settings: Prepare) -> tuple[pa.Table, int]:
    """The table of items, and how many placeholders were left out of it."""
    items, n_placeholders = without_placeholders(items, settings.placeholders)
    assert settings.attributes is not None  # the source's own choices stand in place of null
    assert settings.profile is not None
    attributes = attribute_lists(items, settings.attributes)
    if settings.profiles:
        texts = read_profiles(Path(settings.profiles), items["raw_id"].tolist())
    else:
        texts = item_texts(items, attributes, settings.profile)
    table = pa.table(
        {
            "item": np.arange(1, len(items) + 1, dtype=np.int32),
            "raw_id": pa.array(items["raw_id"], pa.string()),
            "title": pa.array(items["title"], pa.string()),
            "attributes": pa.array(attributes, pa.list_(pa.string())),
            "text": pa.array(texts, pa.string()),
        }
    )
    return table, n_placeholders
