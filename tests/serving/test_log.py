"""The service's log: what is written is read as estimates take it."""

import json
import os
import threading

import pytest

from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.users import keyed_hash
from prorl.serving.log import read_log
from tests.serving.logs import KEY, RULES, a_journal, a_path, outcomes_of, refusal, written


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
    assert refusal(tmp_path / "b").startswith(told)


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
