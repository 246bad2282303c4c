"""The mined instances of a split and the users of each, as arrays.

Shape key: `i` instances, `h` items of history, `r` items of the longest run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.tables import (
    INSTANCES,
    LEFT_OUT,
    PROMPTED_INSTANCES,
    SPLITS,
    USER_SPLITS,
    parts_of,
    read_table,
)

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them


@dataclass(frozen=True)
class Instances:
    """Mined instances of one split.

    user [i], history [i, h], run [i, r] padded with 0 on the right, length [i] in items of the run,
    random_target [i], None in the training split.
    """

    user: np.ndarray
    history: np.ndarray
    run: np.ndarray
    length: np.ndarray
    random_target: np.ndarray | None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def target(self) -> np.ndarray:
        """The mined targets [i]: the last item of each run."""
        return self.run[np.arange(len(self)), self.length - 1]


def read_instances(path: Path) -> Instances:
    """Instances as arrays, of a file or a folder of parts.

    Raises `DataError` as `read_table`, and if histories differ in length.
    """
    parts = [_instances_of(part) for part in parts_of(path)]
    if len(parts) == 1:
        return parts[0]
    filled = [part for part in parts if len(part)] or parts[:1]
    widths = sorted({part.history.shape[1] for part in filled})
    if len(widths) > 1:
        raise _of_several_lengths(path, widths[0], widths[-1])
    longest = max(part.run.shape[1] for part in filled)
    targets = [part.random_target for part in filled if part.random_target is not None]
    return Instances(
        user=np.concatenate([part.user for part in filled]),
        history=np.concatenate([part.history for part in filled]),
        run=np.concatenate([np.pad(part.run, ((0, 0), (0, longest - part.run.shape[1]))) for part in filled]),
        length=np.concatenate([part.length for part in filled]),
        random_target=np.concatenate(targets) if targets else None,
    )


def users_by_split(path: Path) -> dict[str, np.ndarray]:
    """The users of each split, ascending, from the table of users at `path`; nobody's raw id is read."""
    schema = pa.schema([USER_SPLITS.field("user"), USER_SPLITS.field("split")])
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*SPLITS, LEFT_OUT)}
    for part in parts_of(path):
        table = read_table(part, schema)
        for name, users in found.items():
            users.append(table["user"].filter(pc.equal(table["split"], name)).to_numpy())
    return {name: np.concatenate(users) for name, users in found.items()}


def _instances_of(path: Path) -> Instances:
    """The instances in one file."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error
    table = read_table(path, PROMPTED_INSTANCES if "random_target" in names else INSTANCES)
    n = table.num_rows
    history = table["history"].combine_chunks()
    widths = np.unique(np.diff(history.offsets.to_numpy()))
    if len(widths) > 1:
        raise _of_several_lengths(path, widths[0], widths[-1])
    runs = table["run"].combine_chunks()
    length = np.diff(runs.offsets.to_numpy()).astype(np.int64)
    run = np.zeros((n, length.max(initial=0)), dtype=np.int32)
    run[np.arange(run.shape[1]) < length[:, None]] = runs.flatten().to_numpy()
    return Instances(
        user=table["user"].to_numpy(),
        history=history.flatten().to_numpy().reshape(n, widths[0] if n else 0),
        run=run,
        length=length,
        random_target=table["random_target"].to_numpy() if "random_target" in names else None,
    )


def _of_several_lengths(path: Path, shortest: int, longest: int) -> DataError:
    return DataError(f"{path}: histories of {shortest} and {longest} items; all must have the same length")
