"""The canonical tables that stages read and write: their schemas, and parquet on disk.

Item and user indices count from 1; item 0 is padding everywhere. Tables are read without pandas and NumPy,
which those who take a frame bring along.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.files import atomic_file, read_unrepeated_json

if TYPE_CHECKING:
    import pandas as pd

NON_ITEM = -1  # in a path: tokens that are no item

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
RELEASED_ITEMS = pa.schema([field for field in ITEMS if field.name != "text"])
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
    """The JSON value in the file that `setting` names.

    Raises `DataError` if it is missing, not JSON, or has a key twice in one object.
    """
    try:
        return read_unrepeated_json(path)
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
    if not isinstance(table, pa.Table):
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
        with pq.ParquetFile(path) as stored:  # `pq.read_table` imports what reads folders, and pandas
            there = set(schema.names) <= set(stored.schema_arrow.names)
            table = stored.read(columns=schema.names if there else None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; found {table.column_names}, needed {schema.names}"
        )
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise DataError(f"{path}: a column has the wrong type: {error}; needed {schema}") from error


def n_rows(path: Path) -> int:
    """The number of rows of the table at `path`, a file or a folder of parts, which is not read."""
    return sum(pq.read_metadata(part).num_rows for part in parts_of(path))


def read_frame(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """`read_table` as a pandas frame."""
    return read_table(path, schema).to_pandas()
