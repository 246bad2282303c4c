"""The log: what is written is read, and what breaks a rule is refused, with its place."""

import json
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
from tests.offpolicy.logs import KEY, a_request

RULES = Decoding(constrained=True, forbid=["history"], min_length=2, max_length=3)


def rows_of(*requests):
    """Rows as JSON lines have them."""
    rows = [row for request in requests for row in request.rows()]
    return [row | {"rules": json.loads(row["rules"])} for row in rows]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, rows, schema=LOG):
    rows = [row | {"rules": json.dumps(row["rules"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def message(path):
    with pytest.raises(DataError) as error:
        read_log(path)
    return str(error.value).replace(f"{path.parent}/", "")


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


HASH = keyed_hash("0", KEY)


def shared(column, found, first):
    """What is told of a row that differs from the first of its request, which is the third of the file."""
    return (
        f"got {found!r}, allowed: that of its request's first row, {first!r} at log.X: UNIT 3: a request has "
        f"one {column}"
    )


VALUES = [
    ("request_id", "", "got '', allowed: text that is not empty"),
    ("user", HASH[:-1], f"got '{HASH[:-1]}', allowed: a keyed hash of 32 hexadecimal digits"),
    ("user", "G" + HASH[1:], f"got 'G{HASH[1:]}', allowed: a keyed hash of 32 hexadecimal digits"),
    ("history", [3, 0], "got 0, allowed: items, 1 or above"),
    ("target", 0, "got 0, allowed: an item, 1 or above"),
    ("position", -1, "got -1, allowed: 0 or above"),
    ("item", 0, "got 0, allowed: an item, 1 or above"),
    ("temperature", -0.5, "got -0.5, allowed: 0 (greedy) or above"),
    ("temperature", float("nan"), "got nan, allowed: 0 (greedy) or above"),
    ("propensity", 0, "got 0.0, allowed: above 0 and at most 1"),
    ("propensity", 1.01, "got 1.01, allowed: above 0 and at most 1"),
    ("propensity", float("nan"), "got nan, allowed: above 0 and at most 1"),
    ("outcome", "clicked", "got 'clicked', allowed: one of accepted, refused, left, unanswered"),
    ("model", "", "got '', allowed: text that is not empty"),
    ("position", 0, "got 0, allowed: once in request 'r1'; it is at log.X: UNIT 3 too"),
    ("position", 2, "got 2, allowed: 1: request 'r1' has no row of it"),
    ("target", 8, shared("target", 8, 9)),
    ("user", HASH, shared("user", HASH, keyed_hash("1", KEY))),
    ("history", [1, 2], shared("history", [1, 2], [1, 2, 3])),
    ("temperature", 2.0, shared("temperature", 2.0, 1.0)),
    ("model", "b", shared("model", "b", "a")),
    ("item", 4, "got 4, allowed: none that `repeats` in its rules forbids"),
    ("item", 3, "got 3, allowed: none that `history` in its rules forbids"),
    ("item", 9, "got 9, allowed: none that `target` in its rules forbids"),
]


@pytest.mark.parametrize(
    ("ending", "write", "unit"), [("jsonl", write_lines, "line"), ("parquet", write_parquet, "row")]
)
@pytest.mark.parametrize(("column", "value", "told"), VALUES)
def test_a_value_that_breaks_a_rule_is_told_with_file_row_and_column(
    tmp_path, column, value, told, ending, write, unit
):
    rows = rows_of(a_request(0), a_request(1))
    rows[3][column] = value
    told = told.replace("X", ending).replace("UNIT", unit)
    assert message(write(tmp_path / f"log.{ending}", rows)) == f"log.{ending}: {unit} 4: {column}: {told}"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, "line 1: rules.constrained: missing"),
        ({"max_length": 31}, "line 1: rules.max_length: got 31 (int), allowed: a number at least 1 and"),
        ({"min_length": 0}, "line 1: rules.min_length: got 0, allowed: 1 or above: an empty path has no row"),
        ({"min_length": 1, "max_length": 1}, "line 2: position: got 1, allowed: below 1, its rules' max"),
        (
            {"min_length": 3},
            "line 2: position: got 1, allowed: a path of 3 items, its rules' min_length, or one that ends",
        ),
    ],
)
def test_rules_must_be_those_of_decoding_and_kept(tmp_path, rules, told):
    rows = rows_of(a_request(0))
    for row in rows:
        row["rules"] = row["rules"] | rules if rules else {}
    assert message(write_lines(tmp_path / "log.jsonl", rows)).startswith(f"log.jsonl: {told}")


def test_rules_of_parquet_must_be_json_and_one_for_a_request(tmp_path):
    table = pa.Table.from_pylist(a_request().rows(), schema=LOG)
    place = LOG.names.index("rules")
    broken = table.set_column(place, "rules", pa.array(["free", "free"]))
    pq.write_table(broken, tmp_path / "log.parquet")
    told = "log.parquet: row 1: rules: got 'free', allowed: the section `decoding` as JSON"
    assert message(tmp_path / "log.parquet") == told
    two = [RULES.model_copy(update={"min_length": n}).model_dump_json() for n in (1, 2)]
    pq.write_table(table.set_column(place, "rules", pa.array(two)), tmp_path / "log.parquet")
    assert "log.parquet: row 2: rules: got" in message(tmp_path / "log.parquet")
    assert message(tmp_path / "log.parquet").endswith("at log.parquet: row 1: a request has one rules")


def test_a_user_leaves_once_and_a_greedy_policy_has_no_other_choice(tmp_path):
    rows = rows_of(a_request(outcomes=["left", "refused"]))
    told = "log.jsonl: line 1: outcome: got 'left', allowed: `left` at the last item alone"
    assert message(write_lines(tmp_path / "log.jsonl", rows)) == told
    rows = rows_of(a_request(temperature=0.0, propensities=[1.0, 0.9]))
    told = "log.jsonl: line 2: propensity: got 0.9, allowed: 1 at temperature 0, which is greedy"
    assert message(write_lines(tmp_path / "log.jsonl", rows)) == told


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("request_id", 3, "text of whole characters, without NUL"),
        ("user", None, "text of whole characters, without NUL"),
        ("history", "1", "a list of whole numbers"),
        ("history", [1, 2.5], "a list of whole numbers"),
        ("target", 9.0, "a whole number"),
        ("position", True, "a whole number"),
        ("item", 2**31, "a whole number"),
        ("rules", "free", "the section `decoding` as an object"),
        ("propensity", "0.5", "a number"),
        ("propensity", True, "a number"),
        ("outcome", 1, "text of whole characters, without NUL"),
    ],
)
def test_json_lines_have_exact_types(tmp_path, column, value, allowed):
    rows = rows_of(a_request())
    rows[1][column] = value
    told = f"log.jsonl: line 2: {column}: got {value!r}, allowed: {allowed}"
    assert message(write_lines(tmp_path / "log.jsonl", rows)) == told


def test_lines_are_objects_with_all_columns_and_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    (row, _) = rows_of(a_request())
    assert message(write_lines(path, [{**row, "time": 3}])).startswith(
        "log.jsonl: line 1: time: unknown column"
    )
    del row["propensity"]
    assert message(write_lines(path, [row])).startswith(
        "log.jsonl: line 1: propensity: missing; found ['request_id'"
    )
    assert message(write_lines(path, [[]])).startswith(
        "log.jsonl: line 1: got [], allowed: an object with the keys"
    )
    path.write_text("{\n")
    assert message(path).startswith("log.jsonl: line 1: not JSON: ")
    path.write_bytes(b'"\xff"\n')
    assert message(path).startswith("log.jsonl: line 1: not JSON: ")
    path.write_text("")
    assert message(path) == "log.jsonl: line 1: missing, allowed: 1 row or more"


def test_parquet_has_exact_types_no_empty_cell_all_columns_and_no_other(tmp_path):
    path, table = tmp_path / "log.parquet", pa.Table.from_pylist(a_request().rows(), schema=LOG)

    def changed(name, array):
        pq.write_table(table.set_column(LOG.names.index(name), name, array), path)
        return message(path)

    told = "log.parquet: propensity: got a column of string, allowed: double"
    assert changed("propensity", pa.array(["0.5", "0.25"])) == told
    told = "log.parquet: item: got a column of double, allowed: int32"
    assert changed("item", pa.array([4.0, 5.0])) == told
    assert "allowed: int32" in changed("item", pa.array([4, 2**40]))
    told = "log.parquet: row 2: outcome: got nothing, allowed: string"
    assert changed("outcome", pa.array(["accepted", None])) == told
    told = "log.parquet: row 1: history: got None, allowed: items, 1 or above"
    assert changed("history", pa.array([[1, None, 3], [1, 2, 3]])) == told
    pq.write_table(table.append_column("time", pa.array([1, 2])), path)
    assert message(path).startswith("log.parquet: time: unknown column")
    pq.write_table(table.drop_columns(["model"]), path)
    assert message(path).startswith("log.parquet: model: missing; found ['request_id'")
    path.write_bytes(b"no")
    assert message(path).startswith("log.parquet: not readable as parquet: ")
    pq.write_table(table.slice(0, 0), path)
    assert message(path) == "log.parquet: row 1: missing, allowed: 1 row or more"


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


def test_errors_in_parts_name_the_part_and_its_own_row(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    write_lines(folder / "a.jsonl", rows_of(a_request(0)))
    rows = rows_of(a_request(1))
    rows[1]["propensity"] = 2
    write_parquet(folder / "b.parquet", rows)
    with pytest.raises(DataError, match=r"b\.parquet: row 2: propensity: got 2\.0"):
        read_log(folder)
    write_parquet(folder / "b.parquet", rows_of(a_request(0)))  # the keys of its rules in another order
    with pytest.raises(
        DataError, match=r"b.parquet: row 1: position: got 0, .* 'r0'; it is at .*a.jsonl: line 1 too"
    ):
        read_log(folder)


def test_only_logs_are_read(tmp_path):
    assert message(tmp_path / "none.parquet").startswith(
        "none.parquet: missing, allowed: a log, .parquet or .jsonl"
    )
    folder = tmp_path / "log"
    folder.mkdir()
    assert message(folder).startswith("log: an empty folder, allowed: one with parts")
    (folder / "log.csv").write_text("")
    assert message(folder) == "log/log.csv: got .csv, allowed: .parquet or .jsonl"


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
    found = message(write_lines(tmp_path / "log.jsonl", rows))
    assert found == "log.jsonl: line 4: item: got 8, allowed: none that its rules block"
    for wrong in (3, [0], ["4"], [True]):
        rows = rows_of(a_request(0))
        for row in rows:
            row["rules"]["blocked"] = wrong
        found = message(write_lines(tmp_path / "log.jsonl", rows))
        assert found == (
            f"log.jsonl: line 1: rules.blocked: got {wrong!r}, allowed: a list of items, 1 or above"
        )
