"""Logs made up for tests: of requests written out, and of policies whose value is known."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.offpolicy.log import LOG, Log, Request
from prorl.offpolicy.reading import read_log
from prorl.offpolicy.users import keyed_hash

KEY = b"0123456789abcdef"
FREE = Decoding(constrained=True, forbid=[], min_length=1, max_length=10)


def a_request(number: int = 0, **changes) -> Request:
    """Request `number`, of a user of its own: items 4 and 5 of 1 to 9, the second refused."""
    values = {
        "request_id": f"r{number}",
        "user": keyed_hash(str(number), KEY),
        "history": [1, 2, 3],
        "target": 9,
        "rules": Decoding(
            constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=4
        ),
        "temperature": 1.0,
        "model": "a",
        "items": [4, 5],
        "propensities": [0.5, 0.25],
        "outcomes": ["accepted", "refused"],
    }
    return Request(**(values | changes))


def log_of(
    items: np.ndarray,
    propensities: np.ndarray,
    outcomes: np.ndarray,
    user: np.ndarray | None = None,
    rules: Decoding = FREE,
) -> Log:
    """Paths [n, t] of items, 0 behind their end, as a log; their propensities, and outcomes as numbers, are
    [n, t] too.
    """
    n = len(items)
    request, position = (items > 0).nonzero()
    return Log(
        request_id=np.array([f"r{number}" for number in range(n)]),
        user=np.arange(n) if user is None else user,
        history=np.zeros((n, 0), dtype=np.int64),
        target=np.full(n, 99),
        rules=(rules,),
        rule=np.zeros(n, dtype=np.int64),
        temperature=np.ones(n),
        model=np.full(n, "a"),
        request=request,
        position=position,
        item=items[request, position],
        propensity=propensities[request, position],
        outcome=outcomes[request, position],
    )


def rows_of(*requests: Request) -> list[dict]:
    """Rows as JSON lines have them."""
    rows = [row for request in requests for row in request.rows()]
    return [row | {"rules": json.loads(row["rules"])} for row in rows]


def write_lines(path: Path, rows: list) -> Path:
    """Write `rows` to `path` as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: list[dict]) -> Path:
    """Write `rows` to `path` as Parquet with the columns of a log."""
    rows = [row | {"rules": json.dumps(row["rules"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema=LOG), path)
    return path


def refusal(path: Path) -> str:
    """What is told of the log at `path`, which is refused; its folder left out."""
    with pytest.raises(DataError) as error:
        read_log(path)
    return str(error.value).replace(f"{path.parent}/", "")
