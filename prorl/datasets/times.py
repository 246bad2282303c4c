"""Times of interactions: the forms that are read, and units that cannot be those of one log."""

import numpy as np
import pandas as pd
import pyarrow as pa

from prorl.datasets.delimited import ReadTable, are_whole, as_whole, pc
from prorl.errors import DataError

ALLOWED = "a whole number or an ISO date"
SINCE_1970 = 10**8  # a time as large counts from 1970: 1973 in seconds; smaller ones may count anything
FACTOR = 100  # between two times of one unit there is less: 1973 and 2500 differ by a factor of 6


def timestamps(read: ReadTable, name: str) -> np.ndarray:
    """The times in column `name`, int64: whole numbers as they are, dates as microseconds since 1970 in UTC.

    Whole numbers may have decimals of zeros alone. Raises `DataError` naming the first row that is neither a
    whole number nor a date, and a column of another type.
    """
    values = read.column(name)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return _of_texts(values, read)
    if pa.types.is_temporal(values.type):
        finer = pa.types.is_timestamp(values.type) and values.type.unit == "ns"  # what is below 1 us is cut
        try:
            values = pc.cast(values, pa.timestamp("us"), safe=not finer)
        except pa.ArrowException as error:
            raise DataError(
                f"{read.path}: column {name!r} is {values.type}, allowed: times with a date, in 64 bits as "
                f"microseconds: {error}"
            ) from error
    _refuse(values.is_null().to_numpy(), values, read)
    if pa.types.is_float16(values.type):  # which Arrow cannot round
        values = pc.cast(values, pa.float32())
    if pa.types.is_floating(values.type):
        fits = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 2.0**63))
        _refuse(~fits.to_numpy(), values, read)
    try:
        return pc.cast(values, pa.int64()).to_numpy()
    except pa.ArrowException as error:
        raise DataError(
            f"{read.path}: column {name!r} is {values.type}, allowed: whole numbers or dates"
        ) from error


def _of_texts(values: pa.ChunkedArray, read: ReadTable) -> np.ndarray:
    whole = are_whole(values)
    no_number = ~whole.to_numpy()
    if not no_number.any():
        return as_whole(values)
    dates = pd.to_datetime(values.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    no_date = dates.isna().to_numpy()
    neither = no_date & no_number
    _refuse(neither if neither.any() else no_date, values, read)
    return dates.to_numpy(dtype="datetime64[us]").astype(np.int64)


def _refuse(refused: np.ndarray, values: pa.ChunkedArray, read: ReadTable) -> None:
    if refused.any():
        row = int(np.argmax(refused))
        raise DataError(f"{read.place(row)}: timestamp is {values[row].as_py()!r}, allowed: {ALLOWED}")


def units_told(timestamp: np.ndarray, read: ReadTable) -> list[str]:
    """A warning where times [e] of one log cannot have one unit, such as seconds beside milliseconds."""
    if not len(timestamp) or timestamp.max() < SINCE_1970:
        return []
    early = timestamp <= timestamp.max() // FACTOR
    if not early.any():
        return []
    one, other = int(np.argmax(early)), int(np.argmax(timestamp))
    return [
        f"{read.path}: the times of one log span a factor of {FACTOR} and more: {timestamp[one]} at "
        f"{_short(read, one)}, {timestamp[other]} at {_short(read, other)}; {int(early.sum()):,} of "
        f"{len(timestamp):,} are of the smaller kind. Seconds and milliseconds mixed, or times that are "
        "missing: "
        "the order of interactions is wrong"
    ]


def _short(read: ReadTable, row: int) -> str:
    return read.place(row).removeprefix(f"{read.path}: ")
