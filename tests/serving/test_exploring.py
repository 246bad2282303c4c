"""What the service explores, and what it logs of it."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from prorl.config.section import ConfigError
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.policy import AskedTarget
from prorl.offpolicy.users import keyed_hash
from prorl.policy.guide import PolicyGuide
from prorl.serving.app import create_app
from prorl.serving.log import read_log
from prorl.serving.settings import serve_settings
from tests.serving.calls import ASKED, guided, ids, refused, serving, told

KEY = "ab" * 32


def explored(policy, folder, monkeypatch, **settings):
    monkeypatch.setenv("PRORL_USER_KEY", KEY)
    return serving(policy, explore=0.9, log=folder, log_histories=True, **settings)


def test_explored_items_are_logged_with_the_propensities_they_were_drawn_with(policy, tmp_path, monkeypatch):
    with explored(policy, tmp_path, monkeypatch) as client, ThreadPoolExecutor(4) as pool:
        bodies = [
            {"user": f"user {number % 5}", "history": [f"m{1 + number % 3}", "m5"][: 1 + number % 2]}
            | ({"length": [2, 3]} if number % 3 == 0 else {"avoid": ["Drama"]} if number % 3 == 1 else {})
            for number in range(24)
        ]
        found = list(pool.map(lambda body: guided(client, acceptance=0.5, **body), bodies))
        for number, guide in enumerate(found):
            told(client, guide, "accepted" if number % 2 else "refused", 0)
        following = [guided(client, previous=guide["request_id"]) for guide in found[:6]]
        told(client, following[0], "left")
    assert {guide["temperature"] for guide in found} == {0.9}
    read = read_log(tmp_path)
    log = read.log
    assert sorted(log.request_id) == sorted(f"{guide['request_id']}.0" for guide in [*found, *following])
    by_id = {f"{guide['request_id']}.0": guide["paths"][0]["items"] for guide in [*found, *following]}
    first = log.position == 0
    for row in np.flatnonzero(first & (log.length[log.request] > 1)):
        items = by_id[str(log.request_id[log.request[row]])]
        assert items[0]["raw_id"] == f"m{log.item[row]}"
        assert items[0]["propensity"] == log.propensity[row]
    assert len(np.unique(log.user)) == 5
    guide = PolicyGuide(policy._folds.policy, policy._catalogue.at(0.5))
    again = AskedTarget(guide, 0.9)(log)
    assert again == pytest.approx(log.propensity, rel=1e-4), "whatever the batch, history, length and avoid"
    same = estimate(log, AskedTarget(guide, 0.9), "per_decision_ips")
    assert same.value == pytest.approx(same.logged, rel=1e-3)
    assert [OUTCOMES[place] for place in log.outcome[first][:2]] != [], "outcomes are there"
    assert (log.outcome == OUTCOMES.index("accepted")).sum() == 12
    assert (log.outcome == OUTCOMES.index("left")).sum() == 1


def test_explored_paths_differ_from_call_to_call_and_search_is_not_taken_for_sampled(
    simulated, tmp_path, monkeypatch
):
    with explored(simulated, tmp_path, monkeypatch) as client:
        paths = {tuple(ids(guided(client)["paths"][0])) for _ in range(6)}
        assert len(paths) > 3
        guided(client, guide="search")
    rows = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.open()]
    searched = [row for row in rows if row["model"].startswith("search:")]
    assert {(row["temperature"], row["propensity"]) for row in searched} == {(0.0, 1.0)}
    assert read_log(tmp_path).notes[0].startswith("1 requests were not sampled")


def test_users_are_hashed_and_histories_are_written_only_where_that_is_said(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("PRORL_USER_KEY", KEY)
    with serving(policy, log=tmp_path) as client:
        first = guided(client, user="ada@example.org")
        following = guided(client, previous=first["request_id"])
        nobody = guided(client)
        after_nobody = guided(client, previous=nobody["request_id"])
    text = "".join(file.read_text() for file in tmp_path.glob("*.jsonl"))
    assert "ada" not in text
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["history"] for row in rows} == {None}
    users = {row["request_id"]: row["user"] for row in rows}
    assert users[f"{first['request_id']}.0"] == keyed_hash("ada@example.org", bytes.fromhex(KEY))
    assert users[f"{following['request_id']}.0"] == users[f"{first['request_id']}.0"]
    assert users[f"{after_nobody['request_id']}.0"] == users[f"{nobody['request_id']}.0"]
    assert len(set(users.values())) == 2


def test_what_cannot_be_logged_is_not_shown(policy, tmp_path, monkeypatch, caplog):
    with explored(policy, tmp_path, monkeypatch) as client:
        guide = guided(client)
        journal = client.app.state.service._journal

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "_write", full)
            found = refused(client, 503, **ASKED)
            assert found["detail"] == "the log cannot be written, so nothing is shown or kept"
            body = {"request_id": guide["request_id"], "outcome": "accepted"}
            refused(client, 503, "/feedback", **body)
        assert 'prorl_errors_total{kind="log"} 2.0' in client.get("/metrics").text
        told(client, guide, "refused")
    log = read_log(tmp_path).log
    assert log.request_id.tolist() == [f"{guide['request_id']}.0"]
    assert {OUTCOMES[place] for place in log.outcome} == {"refused"}
    assert "No space left" in caplog.text


def test_a_log_that_cannot_be_written_is_told_at_the_start(policy, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^serve\.log: .*file: .*, allowed: a folder that can be written$"):
        create_app(policy, serve_settings({"log": tmp_path / "file"}))
    monkeypatch.chdir(tmp_path)
    with serving(policy, log="logs") as client:
        guided(client)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "file.key", "logs", "logs.key"}
