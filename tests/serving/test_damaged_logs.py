"""A damaged log of the service is read as far as it goes; what is no line of it is refused with its place."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from prorl.serving.log import read_log
from tests.serving.logs import RULES, a_journal, a_path, outcomes_of, refusal, written


@pytest.mark.parametrize("cut", [1, 100, 500, 600])
def test_a_torn_end_is_told_and_costs_only_the_request_that_nobody_was_shown(tmp_path, cut):
    file = written(tmp_path, a_path(0), a_path(1))
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    found = read_log(file)
    whole = content[:-cut].count(b"\n")
    assert found.log.request_id.tolist() == ["r0"] if cut > 1 else ["r0", "r1"]
    if cut == 1:  # all but the end of the line is there
        assert found.notes == ("2 of 2 requests have no answer at all: `unanswered`",)
        return
    torn, half, silent = found.notes
    assert torn == f"{file}: line {whole + 1}: torn, as a service leaves it that is killed; left out"
    assert half == (
        f"{file}: line {whole}: request 'r1' has {whole - 3} of 3 items: the service was killed before it "
        "was shown; left out"
    )
    assert silent.startswith("1 of 1 requests")


def test_wherever_a_kill_cuts_a_log_it_is_read_up_to_there(tmp_path):
    answers = [("r0", [(0, "accepted")]), ("r1", [(0, "refused"), (1, "left")])]
    file = written(tmp_path, a_path(0), a_path(1, rules=RULES.blocking([7])), a_path(2), answers=answers)
    content = file.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    ends = [place for place, byte in enumerate(content, 1) if byte == ord("\n")]
    for cut in random.Random("cuts").sample(range(ends[2], len(content)), 80):
        file.write_bytes(content[:cut])
        found = read_log(file)
        whole = lines[: sum(end <= cut + 1 for end in ends)]  # all of a line but its end is a line
        shown = [line["request_id"] for line in whole if line["kind"] == "shown"]
        assert found.log.request_id.tolist() == [
            name for name in ("r0", "r1", "r2") if shown.count(name) == 3
        ]
        answered = sum(line["kind"] == "outcome" for line in whole)
        assert outcomes_of(found.log).count("unanswered") == max(0, len(found.log.item) - answered)
        is_torn = not any(cut in (end, end - 1) for end in ends)
        assert is_torn == any(f"line {len(whole) + 1}: torn" in note for note in found.notes), found.notes
        is_half = 0 < shown.count(shown[-1]) < 3
        assert is_half == any("the service was killed before it was shown" in note for note in found.notes)


WRITER = """
import sys
from pathlib import Path
from prorl.config.decoding import Decoding
from prorl.serving.journal import Journal, Shown
rules = Decoding(constrained=True, forbid=[], min_length=1, max_length=9)
journal = Journal(Path(sys.argv[1]), 50_000, 0.001)
for number in range(10**9):
    items, user = list(range(1, 10)), "0" * 32
    journal.show([Shown(f"r{number}", user, [20] * 50, 9, items, rules, None, 1.0, [0.5] * 9, "abc")])
    journal.answer(f"r{number}", [(0, "accepted")])
    print(number, flush=True)
"""


def test_a_service_that_is_killed_while_it_writes_leaves_a_readable_log(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    shown = [next(process.stdout) for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    shown += process.stdout.read().splitlines()
    process.wait()
    log = read_log(tmp_path).log
    assert len(log) >= len(shown), "whatever was answered is in the log"
    assert (log.length == 9).all()
    assert outcomes_of(log)[: 9 * len(shown) : 9] == ["accepted"] * len(shown)


def test_a_full_disk_leaves_nothing_of_what_did_not_fit(tmp_path, monkeypatch):
    journal = a_journal(tmp_path)
    journal.show([a_path(0)])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, text: write(file, text[:40]))
        with pytest.raises(OSError, match="took 40 of"):
            journal.show([a_path(1, rules=RULES.blocking([8]))])
    journal.show([a_path(2, rules=RULES.blocking([8]))])
    journal.close()
    log = read_log(tmp_path).log
    assert log.request_id.tolist() == ["r0", "r2"]
    assert [rules.blocked for rules in log.rules] == [(), (8,)]


def changed(**values):
    return lambda rows: [rows[0] | values, *rows[1:]]


def without(key):
    return lambda rows: [{name: value for name, value in rows[0].items() if name != key}, *rows[1:]]


ANSWER = {"kind": "outcome", "time": "t", "request_id": "r0", "position": 0, "outcome": "accepted"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changed(kind="seen"), "line 1: kind: got 'seen', allowed: shown, outcome, blocked"),
        (changed(kind=["shown"]), "line 1: kind: got ['shown'], allowed: shown, outcome, blocked"),
        (without("item"), "line 1: item: missing; found ['kind', 'time',"),
        (changed(day=1), "line 1: day: unknown key, allowed: ['kind', 'time',"),
        (changed(item="4"), "line 1: item: got '4', allowed: a whole number"),
        (changed(request_id=""), "line 1: request_id: got '', allowed: text that is not empty"),
        (
            changed(history=None),
            "line 1: history: got None, allowed: items: estimates need",
        ),
        (
            changed(outcome="left"),
            "line 1: outcome: got 'left', allowed: null: answers have lines",
        ),
        (changed(of=0), "line 1: of: got 0, allowed: a whole number, 1 or above"),
        (changed(propensity=1.5), "line 1: propensity: got 1.5, allowed: above 0 and at most 1"),
        (changed(user="ada"), "line 1: user: got 'ada', allowed: a keyed hash of 32"),
        (
            changed(rules={"blocked": "x"}),
            "line 1: rules.blocked: got 'x', allowed: one that a line",
        ),
        (changed(rules={"blocked": []}), "line 1: rules.blocked: got [], allowed: one that a line"),
        (changed(rules={}), "line 1: rules.constrained: missing"),
        (lambda rows: rows[:2] + rows[3:], "line 2: of: got 2, allowed: 3: request 'r0' has 2 lines, more"),
        (lambda rows: [rows[0], *rows], "line 4: of: got 3, allowed: as many as request 'r0' has lines, 4"),
        (lambda rows: [*rows, ANSWER | {"position": 5}], "line 7: position: got 5, allowed: that of an item"),
        (
            lambda rows: [*rows, ANSWER | {"position": -1}],
            "line 7: position: got -1, allowed: a whole number",
        ),
        (
            lambda rows: [*rows, ANSWER | {"outcome": "unanswered"}],
            "line 7: outcome: got 'unanswered', allowed:",
        ),
        (
            lambda rows: [*rows, ANSWER, ANSWER | {"outcome": "refused"}],
            "line 8: outcome: got 'refused', allowed: accepted, as at ",
        ),
        (lambda rows: [[1], *rows], "line 1: kind: got [1], allowed: shown"),
    ],
)
def test_a_line_that_is_none_of_the_logs_is_refused_with_its_place(tmp_path, change, told):
    file = written(tmp_path, a_path(0), a_path(1))
    rows = change([json.loads(line) for line in file.read_text().splitlines()])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert refusal(file).startswith(f"{file}: {told}")


@pytest.mark.parametrize("line", [b"{\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\0\n"])
def test_a_line_that_is_not_json_is_refused_unless_it_is_the_torn_end(tmp_path, line):
    file = written(tmp_path, a_path())
    content = file.read_bytes()
    file.write_bytes(line + content)
    assert refusal(file).startswith(f"{file}: line 1: not JSON: ")
    file.write_bytes(content + line)
    assert refusal(file).startswith(f"{file}: line 4: not JSON: ")
    file.write_bytes(content + line.rstrip())
    assert read_log(file).notes[0].startswith(f"{file}: line 4: torn")


def test_a_log_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "no").endswith(
        "no: missing, allowed: a log of the service, .jsonl, or a folder of its files"
    )
    assert refusal(tmp_path).endswith("no file .jsonl in it, allowed: a folder of the service's log")
    assert refusal([]).startswith("log: got no path")
    file = tmp_path / "empty.jsonl"
    file.touch()
    assert refusal(file).startswith(f"{file}: got 0 requests, none of them sampled")
