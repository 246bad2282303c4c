"""The instances that the method's authors release, as our tables; and their split of users."""

from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.paths.mining import random_targets
from prorl.paths.released_files import Entry, Released, read_released
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.tables import LEFT_OUT, SPLITS


def import_released(
    settings: Mine, sequences: Sequences, items: pa.Table, splits: pa.Table, seed: tuple
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """The table of instances of each split, and counts of what was read.

    Validation prompts get random targets of ours, test prompts keep the released ones. Test instances name no
    user: each is given to the one user in whose sequence its history stands. One whose history is of no user,
    or of several, counts as a user of its own, numbered after ours. Raises `DataError` naming file and entry
    as `read_released` does, and for a history or run whose length `settings` do not allow.
    """
    assert settings.import_ is not None
    raw_items, raw_users = (table["raw_id"].to_pylist() for table in (items, splits))
    released = read_released(settings.import_, "mine.import", sequences, raw_items, raw_users)
    tables = {}
    for split in SPLITS:
        for entry in released.entries[split]:
            _check_lengths(entry, split, settings)
        columns: dict[str, Any] = {"user": _numbered(released.user[split], len(raw_users))}
        columns["history"] = _lists([entry.history for entry in released.entries[split]])
        columns["run"] = _lists([entry.run for entry in released.entries[split]])
        if split == "validation":
            seed_of_split = derived_seed(*seed, split)
            columns["random_target"] = random_targets(
                sequences, columns["user"], len(raw_items), seed_of_split
            )
        elif split == "test":
            targets = [entry.run[-1] for entry in released.entries[split]]
            columns["random_target"] = np.array(targets, dtype=np.int32)
        tables[split] = pa.table(columns)
    return tables, _statistics(released, sequences, items, splits)


def _check_lengths(entry: Entry, split: str, settings: Mine) -> None:
    if len(entry.history) != settings.history_length:
        raise DataError(
            f"{entry.where}: inters has {len(entry.history)} items, "
            f"allowed: mine.history_length = {settings.history_length}"
        )
    longest = settings.max_run + (split == "test")  # a random target may follow a whole run
    if not settings.min_run <= len(entry.run) <= longest:
        raise DataError(
            f"{entry.where}: proc_path has {len(entry.run)} items, allowed: {settings.min_run} to {longest}"
        )


def _lists(rows: list[list[int]]) -> pa.Array:
    return pa.array(rows, pa.list_(pa.int32()))


def _numbered(user: np.ndarray, n_users: int) -> np.ndarray:
    """User numbers int32; each that is not known gets a number of its own after `n_users`."""
    unknown = user < 1
    return np.where(unknown, n_users + np.cumsum(unknown), user).astype(np.int32)


def _statistics(
    released: Released, sequences: Sequences, items: pa.Table, splits: pa.Table
) -> dict[str, Any]:
    """Counts of what was read, for people to compare with what `prepare` made."""
    users = {split: np.unique(user[user > 0]) for split, user in released.user.items()}
    ours = splits["split"].to_numpy()
    test = released.user["test"]
    had_target = [
        entry.run[-1] in sequences.of(user)
        for entry, user in zip(released.entries["test"], test, strict=True)
        if user > 0
    ]
    return {
        "ids": released.reading,
        "instances": {split: len(entries) for split, entries in released.entries.items()},
        "users": {split: len(own) for split, own in users.items()},
        "test_histories": released.test_histories(),
        "test_targets_that_the_user_had": int(np.sum(had_target)),
        # Simulators are trained on the training users of `prepare`.
        "users_by_prepared_split": {
            split: {name: int((ours[own - 1] == name).sum()) for name in (*SPLITS, LEFT_OUT)}
            for split, own in users.items()
        },
        **_attribute_agreement(released, items),
    }


def _attribute_agreement(released: Released, items: pa.Table) -> dict[str, int]:
    """How many of our items have the same attributes in the released maps, other ones, or none at all.

    The maps name items by the same ids as the entries do.
    """
    names, theirs = released.maps["id2attribute"], released.maps["raw_item_id2attribute"]
    raw_ids = items["raw_id"].to_pylist()
    if released.reading["items"] == "internal":
        internal = {raw_id: number for number, raw_id in released.maps["id2item"].items()}
        raw_ids = [internal.get(raw_id) for raw_id in raw_ids]
    counts = {"items_with_same_attributes": 0, "items_with_other_attributes": 0, "items_not_in_datamaps": 0}
    for raw_id, attributes in zip(raw_ids, items["attributes"].to_pylist(), strict=True):
        if raw_id not in theirs:
            counts["items_not_in_datamaps"] += 1
            continue
        same = {names.get(str(code), str(code)) for code in theirs[raw_id]} == set(attributes)
        counts["items_with_same_attributes" if same else "items_with_other_attributes"] += 1
    return counts
