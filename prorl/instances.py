"""The mined instances of a split, as arrays.

Shape key: `i` instances, `h` items of history, `r` items of the longest run.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.tables import INSTANCES, PROMPTED_INSTANCES, read_table


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
    """Instances as arrays. Raises `DataError` as `read_table`, and if histories differ in length."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error
    table = read_table(path, PROMPTED_INSTANCES if "random_target" in names else INSTANCES)
    n = table.num_rows
    history = table["history"].combine_chunks()
    widths = np.unique(np.diff(history.offsets.to_numpy()))
    if len(widths) > 1:
        raise DataError(
            f"{path}: histories of {widths[0]} and {widths[-1]} items; all must have the same length"
        )
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
