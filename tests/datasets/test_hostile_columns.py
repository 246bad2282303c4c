"""Parquet of any types and texts: a log, or one line that names file and column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from prorl.errors import DataError
from tests.datasets.test_hostile_logs import PARQUET, read, write
from tests.hostile import only_declared

INTERACTIONS = {"when": [30, 20], "who": ["a", "b"], "what": ["x", "y"]}
ITEMS = {"id": ["x", "y"], "name": ["X", "Y"], "kinds": ["a", "b"], "maker": ["M", "N"]}
NO_UTF_8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"], pa.binary()).buffers())


def read_with(folder, name, table, /, **columns):
    """Read the log in parquet whose `table` has `columns` in place of its own."""
    for other, content in PARQUET.items():
        write(folder, other, content)
    pa.parquet.write_table(pa.table({**table, **columns}), folder / name)
    return read("parquet", folder)


@pytest.mark.parametrize(
    ("name", "table"),
    [("interactions.parquet", INTERACTIONS), ("items.parquet", ITEMS)],
    ids=["log", "items"],
)
def test_a_text_of_parquet_that_is_no_utf_8_is_refused(name, table, tmp_path):
    texts = [column for column in table if column != "when"]
    for column in texts:
        with pytest.raises(DataError, match=rf"{name}: not readable as parquet: .*UTF8"):
            read_with(tmp_path, name, table, **{column: NO_UTF_8})
    if table is ITEMS:
        listed = pa.ListArray.from_arrays(pa.array([0, 1, 2]), NO_UTF_8)
        with pytest.raises(DataError, match=rf"{name}: not readable as parquet: .*UTF8"):
            read_with(tmp_path, name, table, kinds=listed)


@pytest.mark.parametrize(
    "values",
    [
        *(pa.array(values, pa.float64()) for values in ([np.nan, np.inf], [1e300, 2.0], [2.0**63, -0.0])),
        *(
            pa.array(np.array([1, 2], np.float16)),
            pa.array([2**64 - 1, 1], pa.uint64()),
            pa.array([True, False]),
        ),
        *(pa.array([2**31 - 1, -5], pa.date32()), pa.array([2**62, 1], pa.timestamp("ms")), pa.nulls(2)),
        *(
            pa.array([2**62, 1], pa.duration("s")),
            pa.array([1, 2], pa.time64("ns")),
            pa.array([b"\xff", b"1"]),
        ),
        *(pa.array([{"a": 1}, None]), pa.array([[1], []]), pa.array(["1", "2"]).dictionary_encode()),
        *(pa.array(["1", "2"], pa.string_view()), pa.array([2**63 - 1, -(2**63)], pa.timestamp("ns"))),
        pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int32())),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_of_parquet_of_any_type_is_read_or_refused_in_one_line(values, tmp_path):
    for name, table in (("interactions.parquet", INTERACTIONS), ("items.parquet", ITEMS)):
        for column in table:
            with only_declared(tmp_path):
                read_with(tmp_path, name, table, **{column: values})


def test_numbers_that_are_no_ids_and_days_that_are_no_times_are_named(tmp_path):
    log = ("interactions.parquet", INTERACTIONS)
    with pytest.raises(DataError, match=r"interactions.parquet: row 2: who is infinite, allowed: a number"):
        read_with(tmp_path, *log, who=[np.nan, np.inf])
    for values in (pa.array([2**31 - 1, 5], pa.date32()), pa.array([2**62, 1], pa.timestamp("ms"))):
        with pytest.raises(DataError, match=r"column 'when' is .*, allowed: times with a date, in 64 bits"):
            read_with(tmp_path, *log, when=values)
    assert read_with(tmp_path, *log, who=[1e300, 2.0]).user_ids.to_pylist() == ["1e+300", "2"]
    assert read_with(tmp_path, *log, when=pa.array([1999, -1], pa.timestamp("ns"))).timestamp.tolist() == [
        1,
        0,
    ]
