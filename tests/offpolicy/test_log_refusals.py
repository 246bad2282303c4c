"""A log that breaks a rule is refused, with its place."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prorl.errors import DataError
from prorl.offpolicy.log import LOG
from prorl.offpolicy.reading import read_log
from prorl.offpolicy.users import keyed_hash
from tests.offpolicy.logs import KEY, a_request, refusal, rows_of, write_lines, write_parquet

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
    assert refusal(write(tmp_path / f"log.{ending}", rows)) == f"log.{ending}: {unit} 4: {column}: {told}"


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
    assert refusal(write_lines(tmp_path / "log.jsonl", rows)).startswith(f"log.jsonl: {told}")


def test_rules_of_parquet_must_be_json_and_one_for_a_request(tmp_path):
    table = pa.Table.from_pylist(a_request().rows(), schema=LOG)
    place = LOG.names.index("rules")
    broken = table.set_column(place, "rules", pa.array(["free", "free"]))
    pq.write_table(broken, tmp_path / "log.parquet")
    told = "log.parquet: row 1: rules: got 'free', allowed: the section `decoding` as JSON"
    assert refusal(tmp_path / "log.parquet") == told
    two = [a_request().rules.model_copy(update={"min_length": n}).model_dump_json() for n in (1, 2)]
    pq.write_table(table.set_column(place, "rules", pa.array(two)), tmp_path / "log.parquet")
    assert "log.parquet: row 2: rules: got" in refusal(tmp_path / "log.parquet")
    assert refusal(tmp_path / "log.parquet").endswith("at log.parquet: row 1: a request has one rules")


def test_a_user_leaves_once_and_a_greedy_policy_has_no_other_choice(tmp_path):
    rows = rows_of(a_request(outcomes=["left", "refused"]))
    told = "log.jsonl: line 1: outcome: got 'left', allowed: `left` at the last item alone"
    assert refusal(write_lines(tmp_path / "log.jsonl", rows)) == told
    rows = rows_of(a_request(temperature=0.0, propensities=[1.0, 0.9]))
    told = "log.jsonl: line 2: propensity: got 0.9, allowed: 1 at temperature 0, which is greedy"
    assert refusal(write_lines(tmp_path / "log.jsonl", rows)) == told


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
    assert refusal(write_lines(tmp_path / "log.jsonl", rows)) == told


def test_lines_are_objects_with_all_columns_and_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    (row, _) = rows_of(a_request())
    assert refusal(write_lines(path, [{**row, "time": 3}])).startswith(
        "log.jsonl: line 1: time: unknown column"
    )
    del row["propensity"]
    assert refusal(write_lines(path, [row])).startswith(
        "log.jsonl: line 1: propensity: missing; found ['request_id'"
    )
    assert refusal(write_lines(path, [[]])).startswith(
        "log.jsonl: line 1: got [], allowed: an object with the keys"
    )
    path.write_text("{\n")
    assert refusal(path).startswith("log.jsonl: line 1: not JSON: ")
    path.write_bytes(b'"\xff"\n')
    assert refusal(path).startswith("log.jsonl: line 1: not JSON: ")
    path.write_text("")
    assert refusal(path) == "log.jsonl: line 1: missing, allowed: 1 row or more"


def test_parquet_has_exact_types_no_empty_cell_all_columns_and_no_other(tmp_path):
    path, table = tmp_path / "log.parquet", pa.Table.from_pylist(a_request().rows(), schema=LOG)

    def changed(name, array):
        pq.write_table(table.set_column(LOG.names.index(name), name, array), path)
        return refusal(path)

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
    assert refusal(path).startswith("log.parquet: time: unknown column")
    pq.write_table(table.drop_columns(["model"]), path)
    assert refusal(path).startswith("log.parquet: model: missing; found ['request_id'")
    path.write_bytes(b"no")
    assert refusal(path).startswith("log.parquet: not readable as parquet: ")
    pq.write_table(table.slice(0, 0), path)
    assert refusal(path) == "log.parquet: row 1: missing, allowed: 1 row or more"


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
    assert refusal(tmp_path / "none.parquet").startswith(
        "none.parquet: missing, allowed: a log, .parquet or .jsonl"
    )
    folder = tmp_path / "log"
    folder.mkdir()
    assert refusal(folder).startswith("log: an empty folder, allowed: one with parts")
    (folder / "log.csv").write_text("")
    assert refusal(folder) == "log/log.csv: got .csv, allowed: .parquet or .jsonl"
