"""The instances that the method's authors release, as our tables.

`<start>.train`, `.val` and `.test` are JSON lists of `{"user", "inters": history, "proc_path": run}` in raw
ids. In `.test` there is no `user`, and the last id of `proc_path` is the random target, which `target`
repeats. `<start>.datamaps` is a JSON of titles and attributes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.mine import Mine
from prorl.files import read_json
from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.tables import SPLITS, DataError

ENDINGS = dict(zip(SPLITS, ("train", "val", "test"), strict=True))
MAPS = ("itemid2title", "raw_item_id2attribute", "id2attribute")


def released_files(start: str) -> list[Path]:
    """The files of the released instances with the common start `start`."""
    return [Path(f"{start}.{ending}") for ending in (*ENDINGS.values(), "datamaps")]


def import_released(
    settings: Mine, sequences: Sequences, items: pa.Table, splits: pa.Table, seed: tuple
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """The table of instances of each split, and counts of what was read.

    Validation prompts get random targets of ours, test prompts keep the released ones. Test instances name
    no user, so each counts as a user of its own, numbered after ours. Raises `DataError` naming file and
    entry for an unknown item or user, and for a history or run whose length `settings` do not allow.
    """
    start = settings.import_
    item_of = {raw_id: item for item, raw_id in enumerate(items["raw_id"].to_pylist(), start=1)}
    user_of = {raw_id: user for user, raw_id in enumerate(splits["raw_id"].to_pylist(), start=1)}
    statistics = {
        "instances": {},
        "users_by_prepared_split": {},
        **_attribute_agreement(Path(f"{start}.datamaps"), items),
    }
    tables = {}
    for split, ending in ENDINGS.items():
        path = Path(f"{start}.{ending}")
        instances = [
            _instance(entry, f"{path}: entry {n}", split, settings, item_of, user_of)
            for n, entry in enumerate(_list(path))
        ]
        named = [instance["user"] for instance in instances if instance["user"] is not None]
        columns = {"user": _numbered([instance["user"] for instance in instances], len(user_of))}
        columns |= {
            name: pa.array([instance[name] for instance in instances], pa.list_(pa.int32()))
            for name in ("history", "run")
        }
        if split == "validation":
            targets = random_targets(sequences, columns["user"], len(item_of), derived_seed(*seed, split))
            columns["random_target"] = targets
        elif split == "test":
            columns["random_target"] = np.array(
                [instance["run"][-1] for instance in instances], dtype=np.int32
            )
        tables[split] = pa.table(columns)
        statistics["instances"][split] = len(instances)
        ours = splits["split"].to_numpy()[np.unique(named).astype(np.int64) - 1]
        # Simulators are trained on our training users, some of which the released split puts elsewhere.
        statistics["users_by_prepared_split"][split] = {name: int((ours == name).sum()) for name in SPLITS}
    return tables, statistics


def _instance(
    entry: Any, where: str, split: str, settings: Mine, item_of: dict[str, int], user_of: dict[str, int]
) -> dict[str, Any]:
    needed = ("inters", "proc_path", "target") if split == "test" else ("inters", "proc_path", "user")
    missing = [name for name in needed if not isinstance(entry, dict) or name not in entry]
    if missing:
        raise DataError(f"{where}: {missing[0]!r} is missing; needed: {', '.join(needed)}")

    def known(raw_id: Any, indices: dict[str, int], kind: str) -> int:
        if str(raw_id) not in indices:
            raise DataError(
                f"{where}: {kind} {raw_id!r} is unknown, "
                f"allowed: one of the {len(indices)} in the prepared tables"
            )
        return indices[str(raw_id)]

    history, run = (
        [known(raw_id, item_of, "item") for raw_id in entry[name]] for name in ("inters", "proc_path")
    )
    longest = settings.max_run + (split == "test")  # a random target may follow a whole run
    if len(history) != settings.history_length:
        raise DataError(
            f"{where}: inters has {len(history)} items, "
            f"allowed: mine.history_length = {settings.history_length}"
        )
    if not settings.min_run <= len(run) <= longest:
        raise DataError(f"{where}: proc_path has {len(run)} items, allowed: {settings.min_run} to {longest}")
    if split == "test" and known(entry["target"], item_of, "item") != run[-1]:
        raise DataError(
            f"{where}: target is {entry['target']!r}, "
            f"allowed: the last of proc_path, {entry['proc_path'][-1]!r}"
        )
    user = known(entry["user"], user_of, "user") if "user" in entry else None
    return {"user": user, "history": history, "run": run}


def _numbered(users: list[int | None], n_users: int) -> np.ndarray:
    """User numbers int32; each unnamed user gets a number of its own after `n_users`."""
    unnamed = np.array([user is None for user in users], dtype=bool)
    return np.where(unnamed, n_users + np.cumsum(unnamed), [user or 0 for user in users]).astype(np.int32)


def _list(path: Path) -> list:
    entries = _json(path)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: found {type(entries).__name__}, allowed: a list of at least one instance")
    return entries


def _json(path: Path) -> Any:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; mine.import names the common start of .train, .val, .test and .datamaps"
        )
    try:
        return read_json(path)
    except ValueError as error:
        raise DataError(str(error)) from error


def _attribute_agreement(path: Path, items: pa.Table) -> dict[str, int]:
    """How many of our items have the same attributes in the released maps, other ones, or none at all."""
    maps = _json(path)
    missing = [name for name in MAPS if not isinstance(maps, dict) or name not in maps]
    if missing:
        raise DataError(f"{path}: {missing[0]!r} is missing; needed: {', '.join(MAPS)}")
    names, theirs = maps["id2attribute"], maps["raw_item_id2attribute"]
    counts = {"items_with_same_attributes": 0, "items_with_other_attributes": 0, "items_not_in_datamaps": 0}
    for raw_id, attributes in zip(items["raw_id"].to_pylist(), items["attributes"].to_pylist(), strict=True):
        if raw_id not in theirs:
            counts["items_not_in_datamaps"] += 1
            continue
        same = {names.get(str(code), str(code)) for code in theirs[raw_id]} == set(attributes)
        counts["items_with_same_attributes" if same else "items_with_other_attributes"] += 1
    return counts
