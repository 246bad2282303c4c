"""Instances of a data set of any size, on Apache Spark: the same rows and counts as `mine`, part by part.

Each part of the prepared interactions holds its users whole, so none is dealt again. Random targets are drawn
here, since every draw follows on the one before: workers tell how many items each user has left, and get the
draws back.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.mine import Mine
from prorl.config.prepare import Spark
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.files import atomic_folder
from prorl.paths.mine_told import told_of_counts, with_repeats
from prorl.paths.mining import (
    FreeItems,
    attribute_words,
    feasible_transitions,
    instance_table,
    later_positions,
    mine_runs,
)
from prorl.paths.sequences import Sequences, user_sequences
from prorl.paths.telling import Told
from prorl.paths.verdicts import judged_transitions
from prorl.runtime import derived_seed
from prorl.spark.kernels import WRITTEN, as_spark
from prorl.spark.session import spark_session
from prorl.tables import (
    INSTANCES,
    INTERACTIONS,
    PROMPTED_INSTANCES,
    SPLITS,
    USER_SPLITS,
    VERDICTS,
    part_path,
    parts_of,
    read_table,
    write_table,
)

PROMPTED = SPLITS[1:]  # the splits that get random targets
FREE = pa.schema([("free", pa.int64())])  # items that a prompt's user never interacted with
DRAWN = pa.schema([("drawn", pa.int64())])


@dataclass(frozen=True)
class Mining:
    """What workers need to mine: parts of interactions and users, what makes a transition feasible, and the
    folders that are written, by name.

    words: `attribute_words`, None where the table at `verdicts` says what is feasible.
    """

    interactions: list[str]
    splits: list[str]
    folders: dict[str, str]
    words: np.ndarray | None
    verdicts: str
    settings: Mine
    n_items: int

    def mined(self, part: int) -> dict[str, Any]:
        """Write the instances of part number `part`, without random targets; its counts."""
        settings = self.settings
        sequences, before = self._sequences(part)
        later = later_positions(sequences, settings.history_length)
        if self.words is not None:
            feasible = feasible_transitions(sequences.items, self.words, later)
        else:
            feasible = judged_transitions(sequences.items, read_table(Path(self.verdicts), VERDICTS), later)
        runs = mine_runs(
            sequences, later, feasible, settings.history_length, settings.min_run, settings.max_run
        )
        users = read_table(Path(self.splits[part]), USER_SPLITS)["split"].to_numpy()
        split = users[runs.user - 1]
        repeats = 0
        for name in SPLITS:
            table = instance_table(sequences, runs, split == name, settings.history_length)
            repeats += with_repeats(table)
            if name in PROMPTED:
                free = FreeItems.of(sequences, table["user"].to_numpy(), self.n_items, before)
                write_table(self._file("free", name, part), pa.table({"free": free.counts}), FREE)
            user = pa.array((table["user"].to_numpy() + before).astype(np.int32))
            table = table.set_column(0, "user", user)
            write_table(self._file("mined" if name in PROMPTED else "", name, part), table, INSTANCES)
        instances = {name: int((split == name).sum()) for name in SPLITS}
        return {"statistics": {**runs.statistics, "instances": instances}, "repeats": repeats}

    def prompted(self, part: int) -> dict[str, Any]:
        """Write the validation and test instances of part number `part` with the random targets drawn."""
        sequences, before = self._sequences(part)
        for name in PROMPTED:
            table = read_table(self._file("mined", name, part), INSTANCES)
            drawn = read_table(self._file("drawn", name, part), DRAWN)["drawn"].to_numpy()
            free = FreeItems.of(sequences, table["user"].to_numpy() - before, self.n_items, before)
            table = table.append_column("random_target", pa.array(free.numbered(drawn)))
            write_table(self._file("", name, part), table, PROMPTED_INSTANCES)
        return {}

    def draw(self, seed: tuple) -> None:
        """Draw the random targets of all parts in order, as `random_targets` draws those of all at once."""
        for name in PROMPTED:
            random = np.random.default_rng(derived_seed(*seed, name))
            for part in range(len(self.interactions)):
                free = read_table(self._file("free", name, part), FREE)["free"].to_numpy()
                drawn = pa.table({"drawn": random.integers(0, free)})
                write_table(self._file("drawn", name, part), drawn, DRAWN)

    def _sequences(self, part: int) -> tuple[Sequences, int]:
        """The sequences of a part, whose users are numbered anew from 1, and the users before it."""
        table = read_table(Path(self.interactions[part]), INTERACTIONS)
        user = table["user"].to_numpy()
        before = int(user[0]) - 1
        return user_sequences(table.set_column(0, "user", pa.array(user - before))), before

    def _file(self, kind: str, split: str, part: int) -> Path:
        """The file of a part: of the instances themselves, or of what is kept between two passes."""
        folder = Path(self.folders["work"]) / kind / split if kind else Path(self.folders[split])
        return part_path(folder, part)


def mine_by_spark(
    interactions: Path,
    splits: Path,
    items: pa.Table,
    verdicts: Path | None,
    settings: Mine,
    cluster: Spark,
    seed: tuple,
    written: dict[str, Path],
) -> tuple[dict[str, Any], Told]:
    """`mine`, whose instances are written as folders of parts, by split; counts, and what is told of them.

    interactions, splits: the tables as prepared; a table that is one file is one part. seed: as
    `derived_seed` takes it. Raises `ConfigError` for imported instances, which nobody mines, `DataError` as
    `mine` does.
    """
    if settings.import_:
        raise ConfigError("mine.engine: got spark, allowed where mine.import is set: local")
    parts, users = parts_of(interactions.resolve()), parts_of(splits.resolve())
    words = None if verdicts else attribute_words(items["attributes"], settings.ignored_attributes)
    with ExitStack() as stack:
        folders = {name: stack.enter_context(atomic_folder(path)).resolve() for name, path in written.items()}
        work = folders["train"].parent / f"{folders['train'].name}.work"
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        mining = Mining(
            [str(part) for part in parts],
            [str(part) for part in users],
            {**{name: str(path) for name, path in folders.items()}, "work": str(work)},
            words,
            str(verdicts.resolve()) if verdicts else "",
            settings,
            items.num_rows,
        )
        with spark_session(cluster, "mine.engine") as session:
            shared = session.sparkContext.broadcast(mining)
            told = _each(session, len(parts), lambda part: shared.value.mined(part))
            statistics = _sum([part["statistics"] for part in told])
            if not all(statistics["instances"].values()):
                raise DataError(
                    f"instances mined per split: {statistics['instances']}, allowed: at least one in each; "
                    f"found {statistics}"
                )
            mining.draw(seed)
            _each(session, len(parts), lambda part: shared.value.prompted(part))
        for folder in folders.values():
            kept = {part_path(folder, number) for number in range(len(parts))}
            for file in set(folder.iterdir()) - kept:  # half written by a worker that was stopped
                file.unlink()
    lengths = {int(size): count for size, count in statistics["runs_by_length"].items()}
    by_length = np.zeros(max(lengths) + 1, dtype=np.int64)
    by_length[list(lengths)] = list(lengths.values())
    repeats = sum(part["repeats"] for part in told)
    return statistics, told_of_counts(statistics["instances"], by_length, repeats, statistics)


def _each(session: Any, n_parts: int, run: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """What `run` tells of each part, each run by a worker."""

    def on_worker(batches: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            told = [json.dumps(run(part)) for part in batch.column("id").to_pylist()]
            yield pa.record_batch({"told": told}, schema=WRITTEN)

    rows = session.range(0, n_parts, 1, n_parts).mapInArrow(on_worker, as_spark(WRITTEN)).collect()
    return [json.loads(row["told"]) for row in rows]


def _sum(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums of counts, and of mappings of counts, of all parts."""
    return {
        name: _sum([part[name] for part in counts])
        if isinstance(value, dict)
        else sum(part[name] for part in counts)
        for name, value in counts[0].items()
    }
