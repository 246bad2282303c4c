"""The instances of every split, mined or imported, with random targets for validation and test."""

from typing import Any

import pyarrow as pa

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.paths.mining import (
    attribute_words,
    feasible_transitions,
    instance_table,
    later_positions,
    mine_runs,
    random_targets,
)
from prorl.paths.released import import_released
from prorl.paths.sequences import user_sequences
from prorl.paths.verdicts import judged_transitions
from prorl.runtime import derived_seed
from prorl.tables import SPLITS


def mine(
    interactions: pa.Table,
    items: pa.Table,
    splits: pa.Table,
    settings: Mine,
    seed: tuple,
    verdicts: pa.Table | None = None,
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """The table of instances of each split, and counts of what was mined and dropped.

    With `settings.import_` the instances are the released ones. seed: as `derived_seed` takes it; each split
    draws its random targets from a seed of its own. verdicts: on all pairs that occur, where it is not
    shared attributes that make transitions feasible. Raises `DataError` if a split has no
    instance, or a pair no verdict.
    """
    sequences = user_sequences(interactions)
    if settings.import_:
        return import_released(settings, sequences, items, splits, seed)
    later = later_positions(sequences, settings.history_length)
    if verdicts is None:
        words = attribute_words(items["attributes"], settings.ignored_attributes)
        feasible = feasible_transitions(sequences.items, words, later)
    else:
        feasible = judged_transitions(sequences.items, verdicts, later)
    runs = mine_runs(sequences, later, feasible, settings.history_length, settings.min_run, settings.max_run)
    split = splits["split"].to_numpy()[runs.user - 1]
    statistics = {**runs.statistics, "instances": {name: int((split == name).sum()) for name in SPLITS}}
    if not all(statistics["instances"].values()):
        raise DataError(
            f"instances mined per split: {statistics['instances']}, allowed: at least one in each; "
            f"found {statistics}"
        )
    tables = {}
    for name in SPLITS:
        table = instance_table(sequences, runs, split == name, settings.history_length)
        if name != "train":
            targets = random_targets(
                sequences, table["user"].to_numpy(), items.num_rows, derived_seed(*seed, name)
            )
            table = table.append_column("random_target", pa.array(targets))
        tables[name] = table
    return tables, statistics
