"""Both readers of logs on spoilt lines, and on any others: a log, or one line that names the file."""

import copy
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl.errors import DataError
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.lines import LONGEST_LINE
from prorl.offpolicy.log import LOG
from prorl.offpolicy.reading import read_log
from prorl.serving.log import read_log as read_service_log
from tests.fuzz.contents import log_lines, service_lines
from tests.hostile import BOUNDED, any_bytes, memory_bounded, only_declared, places
from tests.offpolicy.logs import a_request

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(
            ["\ud800", "r0\x00", "r0", 10**400, 2**31, 1e308, "accepted", [[1]], {"blocked": [1]}]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


KINDS = {"service": (service_lines, read_service_log), "plain": (lambda _: log_lines(), read_log)}


def numbers_of(kind, path):
    """What is read from `path` can be estimated with."""
    found = KINDS[kind][1](path)
    log = found.log if kind == "service" else found
    assert len(log) > 0
    if len(set(log.user.tolist())) < 2:
        return  # an estimate needs two
    assert 0 < estimate(log, lambda log: log.propensity, "per_decision_ips").n_effective <= len(log) + 1e-6


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def good(kind, tmp_path):
    (tmp_path / "made").mkdir()
    return KINDS[kind][0](tmp_path / "made")


def test_the_good_lines_are_read(kind, good, tmp_path):
    (tmp_path / "x.jsonl").write_bytes(good)
    numbers_of(kind, tmp_path / "x.jsonl")


def test_a_spoilt_log_is_read_or_refused_in_one_line(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path), memory_bounded(512):
            numbers_of(kind, path)

    spoilt()


def test_a_log_cut_anywhere_is_read_up_to_there_or_refused(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"

    @BOUNDED
    @given(st.integers(0, len(good)))
    def cut(at):
        path.write_bytes(good[:at])
        with only_declared(tmp_path):
            numbers_of(kind, path)

    cut()


def test_any_value_of_any_line_is_taken_or_refused_in_one_line(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [json.loads(line) for line in good.splitlines()]
    ways = [(number, place) for number, row in enumerate(rows) for place in places(row) if place]

    @BOUNDED
    @given(st.lists(st.tuples(st.sampled_from(ways), VALUES), min_size=1, max_size=3))
    def replaced(changes):
        found = copy.deepcopy(rows)
        for (number, place), value in changes:
            at = found[number]
            for key in place[:-1]:
                if not isinstance(at, dict | list) or (isinstance(at, list) and key >= len(at)):
                    break
                at = at.get(key) if isinstance(at, dict) else at[key]
            else:
                if isinstance(at, dict) or (isinstance(at, list) and place[-1] < len(at)):
                    at[place[-1]] = value
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        with only_declared(tmp_path):
            numbers_of(kind, path)

    replaced()


@BOUNDED
@given(st.lists(VALUES, max_size=3))
def test_lines_of_any_json_are_refused_in_one_line(kind, tmp_path, values):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    with only_declared(tmp_path):
        numbers_of(kind, path)


def with_value(good, number, **values):
    rows = [json.loads(line) for line in good.splitlines()]
    rows[number] |= values
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("request_id", "r\x00", "whole characters, without NUL"),
        ("request_id", "\ud800", "whole characters, without NUL"),
        ("user", "\ud800", "whole characters, without NUL"),
        ("user", "0" * 32 + "\x00", "whole characters, without NUL"),
        ("model", "abc\x00", "whole characters, without NUL"),
        ("propensity", float("nan"), "above 0 and at most 1"),
        ("propensity", float("inf"), "above 0 and at most 1"),
        ("propensity", 10**400, "a number"),
        ("temperature", float("inf"), "0 \\(greedy\\) or above"),
        ("temperature", -(10**400), "a number"),
        ("position", [], "a whole number"),
        ("position", {}, "a whole number"),
        ("history", [2**31], "a list of whole numbers"),
        ("rules", {"forbid": "\ud800"}, ""),
        ("more", 1, ""),
    ],
)
def test_a_value_that_no_row_may_have_is_told_with_its_line(kind, good, tmp_path, name, value, allowed):
    path = tmp_path / "x.jsonl"
    path.write_bytes(with_value(good, 1, **{name: value}))
    with pytest.raises(DataError, match=rf"x\.jsonl: line \d+: {name}.*{allowed}"):
        KINDS[kind][1](path)


def test_a_key_twice_in_a_line_is_named(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(good.replace(b'"target":', b'"target": 8, "target":', 1))
    with pytest.raises(DataError, match=r"x\.jsonl: line 1: not JSON: key 'target' stands more than once"):
        KINDS[kind][1](path)


@pytest.mark.parametrize(
    "line",
    [
        b"\x00" * 100,
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"kind": "shown\xe9"}',
        b"[" * 10**5,
        b"9" * 5000,
    ],
)
def test_a_line_of_no_json_is_told_with_its_line(kind, good, tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_bytes(good + line + b"\n" + good)
    bad = len(good.splitlines()) + 1
    with pytest.raises(DataError, match=rf"x\.jsonl: line {bad}: "):
        KINDS[kind][1](path)


def test_a_log_in_utf_16_is_refused(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(good.decode().encode("utf-16"))
    with pytest.raises(DataError, match=r"line 1: not JSON"):
        KINDS[kind][1](path)


def test_lines_of_ten_megabytes_are_read(kind, good, tmp_path):
    """A long history in every line of one request."""
    path = tmp_path / "x.jsonl"
    rows = [json.loads(line) for line in good.splitlines()]
    first = next(row for row in rows if "history" in row)["request_id"]
    for row in rows:
        if row.get("request_id") == first and "history" in row:
            row["history"] = [2**31 - 1] * 880_000
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert path.stat().st_size > 10 * 2**20
    with memory_bounded(3072):
        numbers_of(kind, path)


def test_a_line_longer_than_any_is_refused_before_it_fills_memory(kind, good, tmp_path):
    path = tmp_path / "x.jsonl"
    with path.open("wb") as stream:
        stream.write(good + b'{"kind": "')
        stream.truncate(2**34)  # 16 GiB of NUL bytes, of which the disk holds none
    with (
        memory_bounded(512),
        pytest.raises(DataError, match=rf"got a line of {LONGEST_LINE} bytes or more, allowed: less"),
    ):
        KINDS[kind][1](path)


def test_a_history_that_would_fill_memory_is_named(tmp_path):
    """All histories are padded to the longest, which a few kilobytes can make of any length."""
    rows = [row for number in range(3000) for row in a_request(number).rows()]
    long = [row | {"history": [1] * 200_000} for row in a_request(3000).rows()]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows + long, schema=LOG), path)
    with (
        memory_bounded(1024),
        pytest.raises(DataError, match=r"row 6001: history: got '200,000 items', allo"),
    ):
        read_log(path)


def test_a_nul_in_a_table_is_named(tmp_path):
    """NumPy would drop it, and two users would be one."""
    path = tmp_path / "x.parquet"
    rows = [row | {"user": row["user"] + "\0"} for row in a_request().rows()]
    pq.write_table(pa.Table.from_pylist(rows, schema=LOG), path)
    with pytest.raises(DataError, match=r"x.parquet: row 1: user: got '\w+\\x00', allowed: text of whole"):
        read_log(path)


def test_a_text_in_a_table_that_is_no_utf_8_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.Table.from_pylist(a_request().rows(), schema=LOG)
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"], pa.binary()).buffers())
    pq.write_table(table.set_column(LOG.names.index("model"), "model", bad), path)
    with pytest.raises(DataError, match=r"x.parquet: not readable as parquet: .*UTF8"):
        read_log(path)


def test_what_is_no_file_is_no_log(kind, tmp_path):
    (tmp_path / "x.jsonl").mkdir()
    os.mkfifo(tmp_path / "y.jsonl")
    for path in (tmp_path, tmp_path / "y.jsonl", tmp_path / "x.jsonl"):
        with pytest.raises(DataError, match=str(tmp_path)):
            KINDS[kind][1](path)


def test_a_spoilt_parquet_is_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / "x.parquet"
    rows = [row for number in range(2) for row in a_request(number).rows()]
    pq.write_table(pa.Table.from_pylist(rows, schema=LOG), path)
    good = path.read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path), memory_bounded(512):
            numbers_of("plain", path)

    spoilt()


@BOUNDED
@given(st.one_of(st.text(max_size=20), st.builds(json.dumps, VALUES), st.just("[" * 10**5)))
def test_rules_of_any_text_in_parquet_are_taken_or_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x.parquet"
    rows = [row | {"rules": text.encode("utf-8", "replace").decode()} for row in a_request().rows()]
    pq.write_table(pa.Table.from_pylist(rows, schema=LOG), path)
    with only_declared(tmp_path):
        numbers_of("plain", path)
