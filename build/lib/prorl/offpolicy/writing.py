"""Writes a log, part by part; a part appears completely or not at all."""

import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from prorl.offpolicy.checking import checked
from prorl.offpolicy.log import LOG, Request
from prorl.tables import write_table


class LogWriter:
    """Collects requests and writes them into `folder` as parts of about `rows_per_part` rows, each of whole
    requests.

    Several processes may write into one folder: no two parts have the same name. What has not been written
    when a process is killed is lost; `flush` writes it earlier.
    """

    def __init__(self, folder: Path | str, rows_per_part: int = 10_000):
        self.folder, self.rows_per_part = Path(folder), rows_per_part
        self._rows: list[dict[str, Any]] = []

    def add(self, request: Request) -> None:
        """Take one request whose path is over. Raises `DataError` where `read_log` would refuse it alone."""
        rows = request.rows()
        checked(
            pa.Table.from_pylist(rows, schema=LOG),
            lambda row: f"request {request.request_id!r}: row {row + 1}",
        )
        self._rows += rows
        if len(self._rows) >= self.rows_per_part:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last part, if anything."""
        if self._rows:
            name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.parquet"
            write_table(self.folder / name, pa.Table.from_pylist(self._rows, schema=LOG), LOG)
            self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the rest; requests that are over are true whatever ended the block."""
        self.flush()
