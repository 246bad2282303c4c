"""A user's own interactions and items, as parquet, CSV or TSV.

`prepare.<dataset>.tabular` names their columns.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prorl.config.prepare import Prepare
from prorl.config.section import ConfigError
from prorl.datasets.delimited import all_true, are_whole, column, identifiers, read_delimited
from prorl.datasets.sources import RawLog, Source, raw_log
from prorl.tables import DataError

ENDINGS = ("parquet", "csv", "tsv")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
INTERACTIONS, ITEMS = (tuple(f"{stem}.{ending}" for ending in ENDINGS) for stem in ("interactions", "items"))


def read_tabular(folder: Path, settings: Prepare) -> RawLog:
    """Read the log. Fields of its items: those that `settings.tabular.items` names beside id and title.

    A field that `settings.attributes` lists is a list column, or text that is split at
    `settings.tabular.separator`.
    """
    mapping = settings.tabular
    _check_names("interactions", mapping.interactions, {"user", "item", "timestamp"})
    _check_names("items", mapping.items, {"item"})
    path = _present(folder, INTERACTIONS)
    # Other columns of a parquet file stay unread; text files are always read whole.
    table = read_table_of(path, list(mapping.interactions.values()))
    users = identifiers(
        _texts(column(table, mapping.interactions["user"], path)), "user", path, _first_line(path)
    )
    items = identifiers(
        _texts(column(table, mapping.interactions["item"], path)), "item", path, _first_line(path)
    )
    timestamp = timestamps(column(table, mapping.interactions["timestamp"], path), path)
    return raw_log(users, items, timestamp, _read_items(_present(folder, ITEMS), settings), {}, path)


def read_table_of(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The table in a parquet, CSV or TSV file, told by its ending.

    Of a parquet file only `columns` are read, if it has them all. Raises `DataError` if it cannot be read.
    """
    if path.suffix in SEPARATORS:
        return read_delimited(path, SEPARATORS[path.suffix], None, "utf8", quoted=True)
    try:
        complete = columns is not None and set(columns) <= set(pq.read_schema(path).names)
        return pq.read_table(path, columns=columns if complete else None)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error


def timestamps(values: pa.ChunkedArray, path: Path) -> np.ndarray:
    """Timestamps int64: whole numbers as they are, dates and ISO dates as microseconds since 1970 in UTC.

    Raises `DataError` naming the first row that is neither.
    """
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        whole = are_whole(values)
        if all_true(whole):
            return pc.cast(values, pa.int64()).to_numpy()
        dates = pd.to_datetime(values.to_pandas(), format="ISO8601", utc=True, errors="coerce")
        no_date = dates.isna().to_numpy()
        neither = no_date & ~whole.to_numpy()
        _refuse_rows(neither if neither.any() else no_date, values, path)
        return dates.to_numpy(dtype="datetime64[us]").astype(np.int64)
    if pa.types.is_temporal(values.type):
        values = pc.cast(values, pa.timestamp("us"), safe=False)
    _refuse_rows(values.is_null().to_numpy(), values, path)
    try:
        return pc.cast(values, pa.int64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: column timestamp is {values.type}, allowed: whole numbers or ISO dates: {error}"
        ) from error


def _refuse_rows(refused: np.ndarray, values: pa.ChunkedArray, path: Path) -> None:
    if refused.any():
        row = int(np.argmax(refused))
        raise DataError(
            f"{path}: line {row + _first_line(path)}: timestamp is {values[row].as_py()!r}, "
            "allowed: a whole number or an ISO date"
        )


def _read_items(path: Path, settings: Prepare) -> pd.DataFrame:
    mapping = {name: present for name, present in settings.tabular.items.items() if present is not None}
    table = read_table_of(path)
    items = {
        "raw_id": identifiers(
            _texts(column(table, mapping.pop("item"), path)), "item", path, _first_line(path)
        ).to_pylist()
    }
    items["title"] = [""] * table.num_rows
    for name, present in mapping.items():
        values = column(table, present, path)
        is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        if is_list:
            items[name] = [
                [str(value) for value in row or [] if value is not None] for row in values.to_pylist()
            ]
        elif name in settings.attributes:
            cut = ((value or "").split(settings.tabular.separator) for value in _texts(values).to_pylist())
            items[name] = [[part.strip() for part in parts if part.strip()] for parts in cut]
        else:
            items[name] = [value or "" for value in _texts(values).to_pylist()]
    return pd.DataFrame(items)


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids or texts as text, whatever the type of their column."""
    return values if pa.types.is_string(values.type) else pc.cast(values, pa.string())


def _check_names(table: str, mapping: dict, needed: set[str]) -> None:
    for name in sorted(needed):
        if mapping.get(name) is None:
            raise ConfigError(f"prepare.tabular.{table}.{name}: got null, allowed: the name of a column")


def _present(folder: Path, names: tuple[str, ...]) -> Path:
    return next(folder / name for name in names if (folder / name).is_file())


def _first_line(path: Path) -> int:
    """The line of the first row; text files name their columns on line 1."""
    return 2 if path.suffix in SEPARATORS else 1


TABULAR = Source(files=(INTERACTIONS, ITEMS), read=read_tabular)
