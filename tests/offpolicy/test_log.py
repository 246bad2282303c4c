"""The log: what is written is read."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.offpolicy.log import LOG
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.reading import read_log
from prorl.offpolicy.users import keyed_hash
from prorl.offpolicy.writing import LogWriter
from tests.offpolicy.logs import KEY, a_request, refusal, rows_of, write_lines, write_parquet

RULES = Decoding(constrained=True, forbid=["history"], min_length=2, max_length=3)


@pytest.mark.parametrize(("name", "write"), [("log.jsonl", write_lines), ("log.parquet", write_parquet)])
def test_rows_in_any_order_become_requests_in_the_order_of_their_first_row(tmp_path, name, write):
    first = a_request(
        7,
        history=[6],
        target=2,
        rules=RULES,
        temperature=0.5,
        model="b",
        items=[5, 5, 1],
        propensities=[0.1, 1.0, 0.3],
        outcomes=["refused", "accepted", "left"],
    )
    rows = rows_of(first, a_request(3))
    log = read_log(write(tmp_path / name, [rows[i] for i in (2, 4, 0, 3, 1)]))
    assert log.request_id.tolist() == ["r7", "r3"]
    assert len(set(log.user.tolist())) == 2
    assert log.history.tolist() == [[0, 0, 6], [1, 2, 3]]
    assert log.target.tolist() == [2, 9]
    assert [log.rules[i] for i in log.rule] == [RULES, a_request().rules]
    assert log.temperature.tolist() == [0.5, 1.0]
    assert log.model.tolist() == ["b", "a"]
    assert log.request.tolist() == [0, 0, 0, 1, 1]
    assert log.position.tolist() == [0, 1, 2, 0, 1]
    assert log.item.tolist() == [5, 5, 1, 4, 5]
    assert log.propensity.tolist() == [0.1, 1.0, 0.3, 0.5, 0.25]
    assert [OUTCOMES[i] for i in log.outcome] == ["refused", "accepted", "left", "accepted", "refused"]
    assert log.length.tolist() == [3, 2]
    assert log.paths.tolist() == [[5, 5, 1], [4, 5, 0]]
    assert log.acts.tolist() == [[True, True, True, False]] * 2  # the user left; the policy stopped


def test_a_policy_that_may_go_on_acts_behind_its_path_unless_the_user_left_or_it_is_the_longest(tmp_path):
    requests = [
        a_request(0, items=[4], propensities=[0.5], outcomes=["left"]),
        a_request(1, items=[4], propensities=[0.5], outcomes=["refused"]),
        a_request(2, items=[4, 5, 6, 7], propensities=[0.5] * 4, outcomes=["refused"] * 4),
    ]
    log = read_log(write_lines(tmp_path / "log.jsonl", rows_of(*requests)))
    assert log.acts.sum(1).tolist() == [1, 2, 4]
    assert log.acts.shape == (3, 5)


def test_a_writers_parts_hold_whole_requests_and_are_read_as_one_log(tmp_path):
    folder = tmp_path / "log"
    with LogWriter(folder, rows_per_part=4) as writer:
        for number in range(5):
            writer.add(a_request(number))
            assert len(list(folder.glob("*"))) == (number + 1) // 2
    assert [pq.read_metadata(part).num_rows for part in sorted(folder.iterdir())] == [4, 4, 2]
    with LogWriter(folder) as writer:  # another process, later
        writer.add(a_request(5, history=[]))
        writer.flush()
        writer.flush()
    assert len(list(folder.iterdir())) == 4
    log = read_log(folder)
    assert log.request_id.tolist() == [f"r{number}" for number in range(6)]
    assert log.history[4:].tolist() == [[1, 2, 3], [0, 0, 0]]
    assert len(set(log.user.tolist())) == 6


def test_a_part_appears_completely_or_not_at_all(tmp_path, monkeypatch):
    writer = LogWriter(tmp_path)
    writer.add(a_request(0))
    writer.flush()
    writer.add(a_request(1))

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
    (tmp_path / ".half.parquet.1.partial").write_bytes(b"PAR1")  # as a killed process leaves it
    assert read_log(tmp_path).request_id.tolist() == ["r0"]
    writer.flush()  # what was not written is still there
    assert read_log(tmp_path).request_id.tolist() == ["r0", "r1"]


def test_requests_that_are_over_are_written_when_the_block_fails(tmp_path):
    def fail():
        with LogWriter(tmp_path) as writer:
            writer.add(a_request(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read_log(tmp_path).request_id.tolist() == ["r0"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"items": [4]}, "request 'r0': got [1, 2, 2] items, propensities and outcomes, allowed: as many"),
        ({"items": [], "propensities": [], "outcomes": []}, "got [0, 0, 0] items"),
        ({"user": "anna"}, "request 'r0': row 1: user: got 'anna', allowed: a keyed hash of 32 hexadecimal"),
        ({"propensities": [0.5, 0.0]}, "request 'r0': row 2: propensity: got 0.0, allowed: above 0 and"),
    ],
)
def test_a_writer_takes_no_request_that_could_not_be_read(tmp_path, changes, told):
    with LogWriter(tmp_path) as writer:
        with pytest.raises(DataError) as error:
            writer.add(a_request(**changes))
        assert told in str(error.value)
    assert not list(tmp_path.iterdir())


def test_types_that_hold_the_same_values_are_read(tmp_path):
    table = pa.Table.from_pylist(a_request().rows(), schema=LOG)
    kinds = {
        "model": pa.dictionary(pa.int8(), pa.string()),
        "user": pa.large_string(),
        "history": pa.list_(pa.int64(), 3),
        "item": pa.uint8(),
        "propensity": pa.float32(),
    }
    for name, kind in kinds.items():
        table = table.set_column(LOG.names.index(name), name, table[name].combine_chunks().cast(kind))
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert (log.item.tolist(), log.history.tolist(), log.model.tolist()) == ([4, 5], [[1, 2, 3]], ["a"])


def test_a_hash_depends_on_user_and_key_and_needs_a_long_one():
    other = b"another key, as long"
    assert len({keyed_hash(user, key) for user in ("1", "2") for key in (KEY, other)}) == 4
    assert keyed_hash("1", KEY) == keyed_hash("1", KEY)
    for key in (b"short", bytes(65)):
        with pytest.raises(DataError, match=rf"got {len(key)} bytes, allowed: 16 to 64 bytes"):
            keyed_hash("1", key)


def test_a_large_log_is_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    n = 20_000
    row = a_request().rows()[0]
    columns = {name: [row[name]] * n for name in LOG.names}
    columns |= {"request_id": [str(i // 2) for i in range(n)], "position": [i % 2 for i in range(n)]}
    columns |= {"item": 4 + np.arange(n) % 2, "propensity": 1 - rng.random(n)}
    pq.write_table(pa.table(columns, schema=LOG), tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert len(log) == n // 2
    assert (log.paths == [4, 5]).all()


def test_what_the_rules_block_is_kept_and_held_to(tmp_path):
    blocking = a_request().rules.blocking([8, 7])
    log = read_log(write_lines(tmp_path / "log.jsonl", rows_of(a_request(0), a_request(1, rules=blocking))))
    assert [rules.blocked for rules in log.rules] == [(), (7, 8)]
    rows = rows_of(a_request(0), a_request(1, rules=blocking, items=[4, 8]))
    found = refusal(write_lines(tmp_path / "log.jsonl", rows))
    assert found == "log.jsonl: line 4: item: got 8, allowed: none that its rules block"
    for wrong in (3, [0], ["4"], [True]):
        rows = rows_of(a_request(0))
        for row in rows:
            row["rules"]["blocked"] = wrong
        found = refusal(write_lines(tmp_path / "log.jsonl", rows))
        assert found == (
            f"log.jsonl: line 1: rules.blocked: got {wrong!r}, allowed: a list of items, 1 or above"
        )
