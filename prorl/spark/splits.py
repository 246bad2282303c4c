"""A log in many files as rows that carry their position, read in pieces, each by itself.

A piece is a row group of a parquet file or a whole delimited file. A row's position is its file's place in
the order of names and its place in the file, in one number; it orders rows as the local engine reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prorl.config.prepare import Tabular
from prorl.datasets.delimited import ReadTable, are_whole, pc
from prorl.datasets.parts import file_system, part_files
from prorl.datasets.tabular import PARQUET, ids_of, read_table_of
from prorl.datasets.times import timestamps
from prorl.errors import DataError

ROWS_OF_FILE = 2**40  # positions of one file; there may be 2^23 files
# position, of counts -1; raw ids of user and, where it is not described, of item; item: its row among those
# described, -1 without one; timestamp. Of a count, `item` says of what, see COUNTS, and `timestamp` how many.
ROWS = pa.schema(
    [
        ("position", pa.int64()),
        ("user", pa.string()),
        ("item", pa.int32()),
        ("raw_item", pa.string()),
        ("timestamp", pa.int64()),
    ]
)
COUNTS = (
    "without_user",
    "without_item",
    "whole_times",
    "dates",
    "interactions",
    "users",
    "undescribed",
    "described_users",
    "repeats",
)
INTERACTIONS = "interactions"  # the name of the table in `prepare.tabular`


@dataclass(frozen=True)
class Piece:
    """Rows of file number `file` at `path`: those of row group `group`, from row `first` on, or all."""

    file: int
    path: str
    group: int | None = None
    first: int = 0


def pieces_of(place: str, form: Tabular) -> list[Piece]:
    """The pieces of the log at `place`, a path or a URI, in order.

    Raises `DataError` as `part_files` does, for delimited files at a URI, parquet files whose columns differ
    in type, and ids with decimals, which may be texts in one piece and whole numbers in another.
    """
    system, _ = file_system(place)
    files = part_files(place)
    if files[0].suffix != PARQUET:
        if "://" in place:
            raise DataError(f"{place}: {files[0].suffix} files, allowed at a URI: parquet")
        return [Piece(number, str(path)) for number, path in enumerate(files)]
    pieces, types = [], None
    for number, path in enumerate(files):
        try:
            with system.open_input_file(str(path)) as stream:
                metadata = pq.ParquetFile(stream).metadata
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: not readable as parquet: {error}") from error
        schema = metadata.schema.to_arrow_schema()
        own = [schema.field(name).type for name in form.interactions.values() if name in schema.names]
        types = types or own
        if own != types:
            raise DataError(f"{path}: columns are {own}, allowed: as in the first file, {types}")
        for role in ("user", "item"):
            name = form.interactions[role]
            if name in schema.names and pa.types.is_floating(schema.field(name).type):
                found = schema.field(name).type
                raise DataError(
                    f"{path}: column {name!r} is {found}, allowed with prepare.engine: spark: texts or whole "
                    "numbers"
                )
        first = 0
        for group in range(metadata.num_row_groups):
            pieces.append(Piece(number, str(path), group, first))
            first += metadata.row_group(group).num_rows
    return pieces


@dataclass(frozen=True)
class Reading:
    """What a worker needs to read pieces: how texts are written, the ids of described items, and where."""

    place: str
    form: Tabular
    described: pa.Array

    def rows(self, piece: Piece) -> pa.Table:
        """The usable rows of `piece` and its counts, as `ROWS`."""
        names = self.form.interactions
        read = self._read(piece, list(names.values()))
        users, items = ids_of(read, names["user"]), ids_of(read, names["item"])
        timestamp = timestamps(read, names["timestamp"])
        has_user, has_item = pc.not_equal(users, ""), pc.not_equal(items, "")
        usable = pc.and_(has_user, has_item)
        row = pc.index_in(items, value_set=self.described)
        texts = read.column(names["timestamp"])
        kinds = {}
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
            whole = bool(pc.all(are_whole(texts), min_count=0).as_py())
            kinds = {"whole_times" if whole else "dates": len(texts)}
        counts = {
            "without_user": pc.sum(pc.invert(has_user)).as_py() or 0,
            "without_item": pc.sum(pc.and_(has_user, pc.invert(has_item))).as_py() or 0,
            **kinds,
        }
        start = piece.file * ROWS_OF_FILE + piece.first
        table = pa.table(
            {
                "position": start + np.arange(len(users)),
                "user": users,
                "item": pc.fill_null(row, -1),
                "raw_item": pc.if_else(pc.is_null(row), items, pa.scalar(None, pa.string())),
                "timestamp": timestamp,
            },
            schema=ROWS,
        )
        return pa.concat_tables([table.filter(usable), count_rows(counts)])

    def _read(self, piece: Piece, columns: list[str]) -> ReadTable:
        if piece.group is None:
            return read_table_of(Path(piece.path), self.form, INTERACTIONS)
        system, _ = file_system(self.place)
        with system.open_input_file(piece.path) as stream:
            file = pq.ParquetFile(stream)
            held = [name for name in columns if name in file.schema_arrow.names]
            table = file.read_row_group(piece.group, columns=held)
        return ReadTable(Path(piece.path), table, None, before=piece.first)


def count_rows(counts: dict[str, int]) -> pa.Table:
    """`counts` as `ROWS`."""
    n = len(counts)
    return pa.table(
        {
            "position": np.full(n, -1),
            "user": pa.array([""] * n),
            "item": np.array([COUNTS.index(name) for name in counts], dtype=np.int32),
            "raw_item": pa.nulls(n, pa.string()),
            "timestamp": np.array(list(counts.values()), dtype=np.int64),
        },
        schema=ROWS,
    )


def batches_of(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """`table` in batches that Spark takes."""
    yield from table.combine_chunks().to_batches(max_chunksize=1 << 17)
