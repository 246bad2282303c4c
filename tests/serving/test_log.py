"""The service's log: what is written is read as estimates take it, and what is damaged is told."""

import json
import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.users import keyed_hash
from prorl.serving.journal import Journal, Shown
from prorl.serving.log import read_log

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=2, max_length=4)
KEY = b"0123456789abcdef"


def a_path(number=0, **changes):
    values = {
        "request_id": f"r{number}",
        "user": keyed_hash(str(number), KEY),
        "history": [1, 2, 3],
        "target": 9,
        "items": [4, 5, 6],
        "rules": RULES,
        "acceptance": 0.5,
        "temperature": 1.0,
        "propensities": [0.5, 0.25, 0.125],
        "model": "abc",
    }
    return Shown(**(values | changes))


def a_journal(folder, rotate_bytes=10**9, sync_seconds=60.0):
    return Journal(folder, rotate_bytes, sync_seconds)


def written(folder, *paths, answers=()):
    journal = a_journal(folder)
    for path in paths:
        journal.show([path])
    for request_id, outcomes in answers:
        journal.answer(request_id, outcomes)
    journal.close()
    return only_file(folder)


def only_file(folder):
    (file,) = folder.iterdir()
    return file


def outcomes_of(log):
    return [OUTCOMES[place] for place in log.outcome]


def message(path):
    with pytest.raises(DataError) as error:
        read_log(path)
    return str(error.value)


def test_shown_paths_and_their_answers_are_read_as_estimates_take_them(tmp_path):
    answers = [("r0", [(0, "accepted")]), ("r1", [(1, "refused"), (0, "accepted")])]
    written(tmp_path, a_path(0), a_path(1, rules=RULES.blocking([8, 7])), answers=answers)
    found = read_log(tmp_path)
    log = found.log
    assert found.notes == ()
    assert log.request_id.tolist() == ["r0", "r1"]
    assert log.history.tolist() == [[1, 2, 3]] * 2
    assert log.target.tolist() == [9, 9]
    assert [rules.blocked for rules in log.rules] == [(), (7, 8)]
    assert log.item.tolist() == [4, 5, 6] * 2
    assert log.propensity.tolist() == [0.5, 0.25, 0.125] * 2
    assert log.model.tolist() == ["abc", "abc"]
    assert outcomes_of(log) == ["accepted", *["unanswered"] * 2, "accepted", "refused", "unanswered"]
    same = estimate(log, lambda log: log.propensity, "per_decision_ips")
    assert same.value == pytest.approx(1.0)
    assert same.n_effective == pytest.approx(2)


def test_a_line_holds_what_is_promised_and_the_file_is_its_owners_alone(tmp_path):
    file = written(tmp_path / "log", a_path())
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["position"] for row in rows] == [0, 1, 2]
    assert rows[1].pop("time").endswith("Z")
    assert rows[1] == {
        "kind": "shown",
        "request_id": "r0",
        "user": keyed_hash("0", KEY),
        "history": [1, 2, 3],
        "target": 9,
        "position": 1,
        "of": 3,
        "item": 5,
        "rules": RULES.as_json(),
        "acceptance": 0.5,
        "temperature": 1.0,
        "propensity": 0.25,
        "outcome": None,
        "model": "abc",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_what_stands_behind_the_item_at_which_the_user_left_was_not_looked_at(tmp_path):
    written(tmp_path, a_path(), a_path(1), answers=[("r0", [(0, "accepted"), (1, "left")])])
    found = read_log(tmp_path)
    assert found.log.length.tolist() == [2, 3]
    assert outcomes_of(found.log)[:2] == ["accepted", "left"]
    assert found.notes == ("1 of 2 requests have no answer at all: `unanswered`",)


def test_greedy_requests_tell_nothing_and_are_counted(tmp_path):
    greedy = a_path(1, temperature=0.0, propensities=[1.0] * 3)
    file = written(tmp_path / "a", a_path(), greedy, answers=[("r0", [(0, "refused")])])
    found = read_log(file)
    assert found.log.request_id.tolist() == ["r0"]
    assert found.notes == (
        "1 requests were not sampled (temperature 0): they tell nothing of another policy; left out",
    )
    written(tmp_path / "b", greedy)
    told = f"{tmp_path / 'b'}: got 1 requests, none of them sampled, allowed: a log of one"
    assert message(tmp_path / "b").startswith(told)


def test_a_log_rotates_by_size_and_its_files_are_one_log(tmp_path):
    journal = a_journal(tmp_path, rotate_bytes=2500)
    for number in range(6):
        journal.show([a_path(number, rules=RULES.blocking([7]))])
    journal.answer("r0", [(2, "accepted")])
    journal.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for file in files:
        text = file.read_text()
        assert text.count('"blocked","blocked"') == ('"rules"' in text), "each file explains its own rules"
        assert file.stat().st_size < 4500
    log = read_log(tmp_path).log
    assert log.request_id.tolist() == [f"r{number}" for number in range(6)]
    assert outcomes_of(log)[2] == "accepted"
    assert len(read_log(files[0]).log) < 6
    assert read_log([files[0], tmp_path]).log.request_id.tolist() == log.request_id.tolist()
    assert read_log(files[1:]).notes[0] == (
        f"{files[-1]}: 1 answer to requests that none of these files shows; left out"
    )


def test_paths_shown_at_once_by_many_threads_do_not_mix(tmp_path):
    journal = a_journal(tmp_path, rotate_bytes=20_000)

    def show(thread):
        for number in range(20):
            journal.show([a_path(100 * thread + number), a_path(100 * thread + 50 + number)])

    threads = [threading.Thread(target=show, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert len(list(tmp_path.iterdir())) > 2
    assert len(read_log(tmp_path).log) == 160


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


def test_the_log_is_forced_to_the_disk_as_often_as_is_said(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    always = a_journal(tmp_path / "always", sync_seconds=0.0)
    synced.clear()
    always.show([a_path(0)])
    always.answer("r0", [(0, "accepted")])
    assert len(synced) == 2
    always.close()
    assert len(synced) == 2
    seldom = a_journal(tmp_path / "seldom", sync_seconds=60.0)
    synced.clear()
    seldom.show([a_path(0)])
    assert synced == []
    seldom.sync()
    assert len(synced) == 1
    seldom.answer("r0", [(0, "accepted")])
    seldom.close()
    assert len(synced) == 2


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
    assert message(file).startswith(f"{file}: {told}")


@pytest.mark.parametrize("line", [b"{\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\0\n"])
def test_a_line_that_is_not_json_is_refused_unless_it_is_the_torn_end(tmp_path, line):
    file = written(tmp_path, a_path())
    content = file.read_bytes()
    file.write_bytes(line + content)
    assert message(file).startswith(f"{file}: line 1: not JSON: ")
    file.write_bytes(content + line)
    assert message(file).startswith(f"{file}: line 4: not JSON: ")
    file.write_bytes(content + line.rstrip())
    assert read_log(file).notes[0].startswith(f"{file}: line 4: torn")


def test_a_log_that_is_not_there(tmp_path):
    assert message(tmp_path / "no").endswith(
        "no: missing, allowed: a log of the service, .jsonl, or a folder of its files"
    )
    assert message(tmp_path).endswith("no file .jsonl in it, allowed: a folder of the service's log")
    assert message([]).startswith("log: got no path")
    file = tmp_path / "empty.jsonl"
    file.touch()
    assert message(file).startswith(f"{file}: got 0 requests, none of them sampled")
