"""Good contents of files that take some lines to make."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prorl.config.decoding import Decoding
from prorl.offpolicy.log import LOG
from prorl.offpolicy.users import keyed_hash
from prorl.paths.sequences import Sequences
from prorl.serving.journal import Journal, Shown
from tests.offpolicy.logs import KEY, a_request

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=2, max_length=4)

# Two users, `u` with items a and b, `v` with b and a; raw and internal ids.
SEQUENCES = Sequences(np.array([1, 2, 2, 1], dtype=np.int32), np.array([0, 2, 4]))
RELEASED = {
    "train": [
        {"user": "u", "inters": ["a"], "proc_path": ["b"]},
        {"user": "v", "inters": ["b"], "proc_path": ["a"]},
    ],
    "val": [{"user": "v", "inters": ["a"], "proc_path": ["b"]}],
    "test": [{"inters": ["a"], "proc_path": ["b", "a"], "target": "a"}],
    "datamaps": {
        "itemid2title": {},
        "raw_item_id2attribute": {"a": ["1"]},
        "id2attribute": {"1": "War"},
        "id2item": {"7": "a", "8": "b"},
        "id2user": {"3": "u"},
    },
}


def service_lines(folder: Path) -> bytes:
    """The lines of a service's log of three requests, two of them under rules that block items."""
    journal = Journal(folder, 10**9, 60.0)
    for number in range(3):
        shown = Shown(
            request_id=f"r{number}",
            user=keyed_hash(str(number), KEY),
            history=[1, 2, 3],
            target=9,
            items=[4, 5, 6],
            rules=RULES.blocking([7, 8]) if number else RULES,
            acceptance=0.5,
            temperature=1.0,
            propensities=[0.5, 0.25, 0.125],
            model="abc",
        )
        journal.show([shown])
    journal.answer("r0", [(0, "accepted"), (1, "refused")])
    journal.answer("r1", [(0, "left")])
    journal.close()
    (file,) = folder.glob("*.jsonl")
    return file.read_bytes()


def log_lines() -> bytes:
    """The lines of a log of two requests as JSON."""
    rows = [row | {"rules": json.loads(row["rules"])} for n in range(2) for row in a_request(n).rows()]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def log_table() -> bytes:
    """The same as parquet."""
    stream = BytesIO()
    rows = [row for number in range(2) for row in a_request(number).rows()]
    pq.write_table(pa.Table.from_pylist(rows, schema=LOG), stream)
    return stream.getvalue()
