"""The canonical tables that stages read and write: their schemas, and parquet on disk.

Shape key: `n` items, `i` instances, `h` items of history, `r` items of the longest run, `k` tokens per item.
Item and user indices count from 1; item 0 is padding everywhere.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.files import atomic_file, read_json

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them
SPLITS = ("train", "validation", "test")
LEFT_OUT = "left_out"  # in place of a split: of users that stages make nothing of

ITEMS = pa.schema(
    [
        ("item", pa.int32()),
        ("raw_id", pa.string()),
        ("title", pa.string()),
        ("attributes", pa.list_(pa.string())),
        ("text", pa.string()),
    ]
)
INTERACTIONS = pa.schema([("user", pa.int32()), ("item", pa.int32()), ("timestamp", pa.int64())])
USER_SPLITS = pa.schema([("user", pa.int32()), ("raw_id", pa.string()), ("split", pa.string())])
INSTANCES = pa.schema(
    [("user", pa.int32()), ("history", pa.list_(pa.int32())), ("run", pa.list_(pa.int32()))]
)
PROMPTED_INSTANCES = INSTANCES.append(pa.field("random_target", pa.int32()))
VERDICTS = pa.schema(
    [("item", pa.int32()), ("next_item", pa.int32()), ("score", pa.float32()), ("feasible", pa.bool_())]
)
SEMANTIC_IDS = pa.schema(
    [("item", pa.int32()), ("codes", pa.list_(pa.int32())), ("tokens", pa.list_(pa.int32()))]
)


def imported_json(path: Path, setting: str) -> Any:
    """The JSON value in the file that `setting` names. Raises `DataError` if it is missing or not JSON."""
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{setting}: {error}") from error


def require_items(path: Path, raw_ids: Sequence[str], present: Container[str]) -> None:
    """Raise `DataError` if one of the data set's items `raw_ids` is not `present` in the file `path`."""
    missing = [raw_id for raw_id in raw_ids if raw_id not in present]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of the data set's {len(raw_ids)} items are missing, "
            f"the first is {missing[0]!r}"
        )


def write_table(path: Path, table: pa.Table | pd.DataFrame, schema: pa.Schema) -> None:
    """Write `table` with exactly the columns of `schema`, completely or not at all."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
    with atomic_file(path) as temporary:
        pq.write_table(table.select(schema.names).cast(schema), temporary)


def part_path(folder: Path, number: int) -> Path:
    """The file of part `number`, counted from 0, of a table that is a folder of parts."""
    return Path(folder) / f"part-{number:05}.parquet"


def parts_of(path: Path) -> list[Path]:
    """The files of the table at `path`: itself, or the parts in its folder, in the order of their names.

    Raises `DataError` for a folder without parts.
    """
    if not Path(path).is_dir():
        return [path]
    parts = sorted(Path(path).glob("part-*.parquet"))
    if not parts:
        raise DataError(f"{path}: a folder without a part, allowed: part-00000.parquet and those after it")
    return parts


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read the columns of `schema` from `path`, a file or a folder of parts.

    Raises `DataError` naming a missing column or one of another type.
    """
    if Path(path).is_dir():
        return pa.concat_tables([read_table(part, schema) for part in parts_of(path)])
    try:
        names = pq.read_schema(path).names
        columns = schema.names if set(schema.names) <= set(names) else None
        table = pq.ParquetFile(path).read(columns=columns)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; found {table.column_names}, needed {schema.names}"
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: a column has the wrong type: {error}; needed {schema}") from error


def users_by_split(path: Path) -> dict[str, np.ndarray]:
    """The users of each split, ascending, from the table of users at `path`; nobody's raw id is read."""
    schema = pa.schema([USER_SPLITS.field("user"), USER_SPLITS.field("split")])
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*SPLITS, LEFT_OUT)}
    for part in parts_of(path):
        table = read_table(part, schema)
        for name, users in found.items():
            users.append(table["user"].filter(pc.equal(table["split"], name)).to_numpy())
    return {name: np.concatenate(users) for name, users in found.items()}


def n_rows(path: Path) -> int:
    """The number of rows of the table at `path`, a file or a folder of parts, which is not read."""
    return sum(pq.read_metadata(part).num_rows for part in parts_of(path))


def read_frame(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """`read_table` as a pandas frame."""
    return read_table(path, schema).to_pandas()


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

    Raises `DataError` if histories differ in length.
    """
    parts = [_instances_of(part) for part in parts_of(path)]
    if len(parts) == 1:
        return parts[0]
    filled = [part for part in parts if len(part)] or parts[:1]
    widths = sorted({part.history.shape[1] for part in filled})
    if len(widths) > 1:
        raise DataError(
            f"{path}: histories of {widths[0]} and {widths[-1]} items; all must have the same length"
        )
    longest = max(part.run.shape[1] for part in filled)
    targets = [part.random_target for part in filled if part.random_target is not None]
    return Instances(
        user=np.concatenate([part.user for part in filled]),
        history=np.concatenate([part.history for part in filled]),
        run=np.concatenate([np.pad(part.run, ((0, 0), (0, longest - part.run.shape[1]))) for part in filled]),
        length=np.concatenate([part.length for part in filled]),
        random_target=np.concatenate(targets) if targets else None,
    )


def _instances_of(path: Path) -> Instances:
    """The instances in one file."""
    names = pq.read_schema(path).names
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
