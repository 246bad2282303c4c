"""The service over HTTP: guiding, feedback, re-planning, its log, and what it refuses."""

import asyncio
import hmac
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from prorl.config.section import ConfigError
from prorl.offpolicy.estimate import estimate
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.policy import AskedTarget
from prorl.offpolicy.users import keyed_hash
from prorl.policy.guide import PolicyGuide
from prorl.serving.app import create_app
from prorl.serving.log import read_log
from prorl.serving.schemas import GuideBody
from prorl.serving.settings import serve_settings
from tests.serving.bundles import N_ITEMS, title

ASKED = {"history": ["m1", "Heat (1995)"], "target": "The Piano"}
KEY = "ab" * 32


@contextmanager
def serving(policy, base_url="http://127.0.0.1:8000", **settings):
    app = create_app(policy, serve_settings(settings))
    with TestClient(app, base_url=base_url, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(simulated):
    """One service for the tests that change nothing in it."""
    with serving(simulated) as client:
        yield client


def guided(client, **body):
    answer = client.post("/guide", json=ASKED | body if "previous" not in body else body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client, status=422, route="/guide", **body):
    answer = client.post(route, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def told(client, guide, outcome, position=None, path=0):
    body = {"request_id": guide["request_id"], "outcome": outcome, "path": path}
    answer = client.post("/feedback", json=body | ({} if position is None else {"position": position}))
    assert answer.status_code == 200, answer.text
    return answer.json()["outcomes"]


def ids(path):
    return [item["raw_id"] for item in path["items"]]


def test_a_path_is_what_the_policy_guides_with_titles_and_reasons(client, simulated):
    found = guided(client, acceptance=0.5, length=[2, 4])
    path = simulated.guide(["m1", "m5"], "m4", acceptance=0.5, length=(2, 4))[0]
    assert ids(found["paths"][0]) == [item.raw_id for item in path.items]
    assert [step["why"] for step in found["paths"][0]["items"]] == [list(why) for why in path.reasons]
    assert {step["propensity"] for step in found["paths"][0]["items"]} == {1.0}
    assert [item["title"] for item in found["history"]] == ["Alien (1979)", "Heat (1995)"]
    assert found["target"] == {
        "raw_id": "m4",
        "title": "The Piano (1993)",
        "attributes": ["Action", "Comedy"],
    }
    assert (found["model"], found["acceptance"], found["temperature"]) == (simulated.version, 0.5, 0.0)
    assert found["paths"][0]["judged"] is None
    assert found["note"] is None


def test_length_avoid_and_number_of_paths_are_kept(client):
    found = guided(client, length=5, n=3, avoid=["Comedy", "m3", "Film 20"])
    assert len(found["paths"]) == 3
    for path in found["paths"]:
        assert len(path["items"]) == 5
        assert not {"m3", "m20"} & set(ids(path))
        assert all("Comedy" not in step["attributes"] for step in path["items"])
    assert found["temperature"] == 1.0


def test_paths_are_judged_where_that_is_asked_for(client):
    path = guided(client, judge=True, length=3)["paths"][0]
    assert path["judged"]["target_probability"] == [0.001, 0.002, 0.004, 0.008]
    assert path["judged"]["target_rank"] == [40, 20, 10, 5]
    expected = [0.9 if int(raw_id[1:]) % 2 else 0.3 for raw_id in ids(path)]
    assert path["judged"]["acceptance"] == expected


def test_the_search_is_served_beside_the_policy(client):
    found = guided(client, guide="search", length=4, avoid=["m2"])
    assert ids(found["paths"][0]) == ["m3", "m6", "m7", "m8"]
    assert found["guide"] == "search"
    body = ASKED | {"guide": "search", "n": 2}
    assert refused(client, **body)["detail"] == "n: got 2, allowed: at most 1"


def test_without_a_simulator_it_guides_and_says_why_nothing_is_judged(policy):
    why = "this policy was released without a simulator, which judging and searching need"
    with serving(policy) as client:
        found = guided(client, judge=True)
        assert found["paths"][0]["judged"] is None
        assert found["note"] == why
        assert refused(client, **ASKED, guide="search") == {
            "detail": f"guide: {why}",
            "field": "guide",
            "suggestions": [],
        }
        assert client.get("/policy").json()["judge"] == why


def test_a_simulator_that_cannot_be_loaded_is_told_and_guiding_goes_on(simulated, monkeypatch, caplog):
    def broken(*_, **__):
        raise OSError("weights are gone")

    monkeypatch.setattr(simulated, "judged", broken)
    with serving(simulated) as client:
        guided(client)
        assert client.get("/policy").json()["judge"] == "paths cannot be judged: weights are gone"
        assert client.get("/policy").json()["search"] is None
        assert guided(client, judge=True)["note"] == "paths cannot be judged: weights are gone"
    assert "paths cannot be judged" in caplog.text


def test_after_feedback_the_next_call_goes_on_from_what_was_accepted(client, simulated):
    first = guided(client, length=[3, 5])
    shown = ids(first["paths"][0])
    assert told(client, first, "accepted", 0)[:2] == ["accepted", None]
    assert told(client, first, "refused", 1)[:2] == ["accepted", "refused"]
    second = guided(client, previous=first["request_id"])
    assert [item["raw_id"] for item in second["history"]] == ["m1", "m5", shown[0]]
    expected = simulated.guide(["m1", "m5", shown[0]], "m4", length=(2, 4), avoid=[shown[1]])[0]
    assert ids(second["paths"][0]) == [item.raw_id for item in expected.items]
    told(client, second, "refused", 0)
    third = guided(client, previous=second["request_id"], acceptance=0.0, length=1)
    assert len(third["paths"][0]["items"]) == 1
    assert third["acceptance"] == 0.0
    assert not {*shown[:2], ids(second["paths"][0])[0]} & set(ids(third["paths"][0]))


def test_a_path_all_of_which_was_accepted_is_over(client):
    first = guided(client, length=2)
    assert told(client, first, "accepted") == ["accepted", "accepted"]
    found = refused(client, 409, previous=first["request_id"])
    assert found["detail"] == "previous: the path is over: nothing is left of it to guide along"
    assert found["field"] == "previous"


def test_what_no_longer_counts_of_a_long_history_still_comes_no_more(client):
    """Ten items count; those that accepted ones push out are avoided all the same."""
    history = [f"m{number}" for number in range(10, 20)]
    guide = guided(client, history=history, length=6)
    had = set(history)
    for left in (5, 4, 3):
        told(client, guide, "accepted", 0)
        had.add(ids(guide["paths"][0])[0])
        guide = guided(client, previous=guide["request_id"])
        assert len(guide["history"]) == 10
        assert len(guide["paths"][0]["items"]) == left
        assert not had & set(ids(guide["paths"][0]))


def test_each_of_several_paths_has_answers_of_its_own(client):
    guide = guided(client, n=2, length=3)
    told(client, guide, "accepted", 0, path=1)
    assert told(client, guide, "left", path=0) == ["left", None, None]
    following = guided(client, previous=guide["request_id"], path=1)
    assert following["history"][-1]["raw_id"] == ids(guide["paths"][1])[0]
    found = refused(client, 404, previous=guide["request_id"], path=2)
    assert found["detail"] == "path: got 2, allowed: below 2"


def test_an_item_has_one_outcome_and_nobody_answers_behind_the_end(client):
    guide = guided(client, length=4)
    answer = {"route": "/feedback", "request_id": guide["request_id"]}
    told(client, guide, "accepted", 1)
    assert told(client, guide, "accepted", 1) == [None, "accepted", None, None], "the same twice is one"
    assert refused(client, 409, **answer, position=1, outcome="refused")["detail"] == (
        "position 1: it was accepted, and has one outcome"
    )
    assert refused(client, 409, **answer, position=0, outcome="left")["detail"] == (
        "position 0: an item behind it has an answer"
    )
    assert refused(client, 422, **answer, position=4, outcome="left")["detail"] == (
        "position: got 4, allowed: below 4"
    )
    assert told(client, guide, "left") == [None, "accepted", "left", None]
    assert told(client, guide, "left") == [None, "accepted", "left", None]
    assert refused(client, 409, **answer, position=3, outcome="accepted")["detail"] == (
        "position 3: the user left at position 2"
    )
    assert told(client, guide, "refused") == ["refused", "accepted", "left", None]
    whole = guided(client, length=2)
    told(client, whole, "accepted")
    answer["request_id"] = whole["request_id"]
    assert refused(client, 409, **answer, outcome="left")["field"] == "outcome"
    answer["request_id"] = "nobody"
    assert "is not known" in refused(client, 404, **answer, outcome="left")["detail"]


def test_an_unknown_title_gets_suggestions(client):
    found = refused(client, history=["m1"], target="Alein")
    assert found["field"] == "target"
    assert found["detail"].startswith("target: 'Alein' is no raw id and no title of the 40 items")
    assert "Alien (1979)" in [item["title"] for item in found["suggestions"]]
    assert refused(client, history=["m1", "Heet"], target="m2")["field"] == "history[1]"
    assert refused(client, **ASKED, avoid=["Komedy"])["field"] == "avoid[0]"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "history and target, or previous, are needed"),
        ({"history": ["m1"]}, "history and target, or previous, are needed"),
        (ASKED | {"previous": "x"}, "history and target are those of previous: leave them out"),
        ({"previous": "x"}, "previous: 'x' is not known"),
        (ASKED | {"history": []}, "history: List should have at least 1 item"),
        (ASKED | {"history": ["m1"] * 501}, "history: got 501, allowed: at most 500"),
        (ASKED | {"avoid": ["m1"] * 101}, "avoid: got 101, allowed: at most 100"),
        (ASKED | {"n": 9}, "n: got 9, allowed: at most 8"),
        (ASKED | {"n": 0}, "n: Input should be greater than or equal to 1"),
        (ASKED | {"n": "2"}, "n: Input should be a valid integer"),
        (ASKED | {"length": 7}, "length: got (7, 7), allowed: 1 to 6"),
        (ASKED | {"length": [4, 2]}, "length: got (4, 2), allowed: 1 to 6"),
        (ASKED | {"acceptance": 0.3}, "acceptance: got 0.3, allowed: one of [0.0, 0.5, 1.0]"),
        (ASKED | {"guide": "oracle"}, "guide: Input should be 'policy' or 'search'"),
        (ASKED | {"temperature": 2.0}, "temperature: Extra inputs are not permitted"),
        (ASKED | {"target": "x" * 501}, "target: String should have at most 500 characters"),
        (ASKED | {"avoid": ["Action", "Comedy", "Drama", "Sci-Fi"]}, "40 items: with those forbidden"),
        ([], "Input should be a valid dictionary"),
    ],
)
def test_a_request_that_is_not_allowed_is_answered_in_words(client, body, detail):
    answer = client.post("/guide", json=body)
    assert answer.status_code in (404, 422)
    assert detail in answer.json()["detail"]
    assert set(answer.json()) == {"detail", "field", "suggestions"}


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"null", b'"\\ud800"', b'{"n": 1e999}', b"[" * 5000, b"1" * 6000, b"\0"]
)
def test_a_body_that_is_no_request_gets_a_prompt_answer(client, body):
    answer = client.post("/guide", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert isinstance(answer.json()["detail"], str)


def test_one_request_that_has_no_path_spoils_no_other_of_its_batch(simulated):
    everything = ["Action", "Comedy", "Drama", "Sci-Fi"]
    with serving(simulated, batch_wait_ms=200.0) as client, ThreadPoolExecutor(4) as pool:
        bodies = [ASKED, ASKED | {"avoid": everything}, ASKED | {"length": 3}, ASKED | {"n": 2}]
        answers = list(pool.map(lambda body: client.post("/guide", json=body), bodies))
    assert [answer.status_code for answer in answers] == [200, 422, 200, 200]


def test_requests_that_arrive_together_are_one_batch(simulated, monkeypatch):
    sizes = []
    guide_each = simulated.guide_each
    monkeypatch.setattr(
        simulated, "guide_each", lambda requests: (sizes.append(len(requests)), guide_each(requests))[1]
    )
    with serving(simulated, batch_wait_ms=300.0, batch=8) as client, ThreadPoolExecutor(10) as pool:
        guided(client)
        sizes.clear()
        bodies = [ASKED | {"length": 1 + number % 6, "acceptance": (number % 3) / 2} for number in range(10)]
        together = list(pool.map(lambda body: guided(client, **body), bodies))
        assert sizes == [8, 2], "as many as a batch takes, and the rest"
        alone = [guided(client, **body) for body in bodies]
        text = client.get("/metrics").text
    assert [ids(found["paths"][0]) for found in together] == [ids(found["paths"][0]) for found in alone]
    assert 'prorl_batch_size_bucket{le="8.0"}' in text


class Held:
    """Holds a policy's batches until it is told to go on."""

    def __init__(self, policy, monkeypatch):
        self.go_on, self.began = threading.Event(), threading.Event()
        guide_each = policy.guide_each

        def held(requests):
            self.began.set()
            assert self.go_on.wait(20)
            return guide_each(requests)

        monkeypatch.setattr(policy, "guide_each", held)


def test_beyond_capacity_it_says_when_to_try_again_and_loses_nobody(policy, monkeypatch):
    with serving(policy, queue=3, batch=1, batch_wait_ms=0.0) as client, ThreadPoolExecutor(8) as pool:
        guided(client)
        held = Held(policy, monkeypatch)
        accepted = [pool.submit(client.post, "/guide", json=ASKED)]
        assert held.began.wait(20)
        accepted += [pool.submit(client.post, "/guide", json=ASKED) for _ in range(3)]
        while client.app.state.service._batcher.waiting < 3:
            time.sleep(0.01)
        beyond = client.post("/guide", json=ASKED)
        assert beyond.status_code == 429
        assert int(beyond.headers["retry-after"]) >= 1
        assert "prorl_queue 3.0" in client.get("/metrics").text
        held.go_on.set()
        assert [future.result().status_code for future in accepted] == [200] * 4


def test_who_waits_too_long_is_told_and_costs_no_batch(policy, monkeypatch):
    with serving(policy, timeout_seconds=0.3, batch=1, batch_wait_ms=0.0) as client:
        guided(client)
        held = Held(policy, monkeypatch)
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(client.post, "/guide", json=ASKED) for _ in range(2)]
            answers = [future.result() for future in waiting]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert answers[0].json()["detail"] == "no path after 0.3 s"
        assert answers[0].headers["retry-after"] == "5"
        held.go_on.set()
        guided(client)
        assert "prorl_batch_size_count 3.0" in client.get("/metrics").text, "first, held, last"


def test_a_failure_of_its_own_is_counted_and_the_next_request_is_answered(policy, monkeypatch, caplog):
    with serving(policy) as client:
        with monkeypatch.context() as patch:
            patch.setattr(policy, "guide_each", lambda requests: 1 / 0)
            answer = client.post("/guide", json=ASKED)
        assert (answer.status_code, answer.json()["detail"]) == (
            500,
            "the service failed; its own log says why",
        )
        assert 'prorl_errors_total{kind="ZeroDivisionError"} 1.0' in client.get("/metrics").text
        guided(client)
    assert "a batch of 1 requests failed" in caplog.text


def test_a_service_that_stops_answers_who_waits(policy, monkeypatch):
    held = None
    with ThreadPoolExecutor(2) as pool:
        with serving(policy, batch=1) as client:
            guided(client)
            held = Held(policy, monkeypatch)
            waiting = [pool.submit(client.app.state.service.submit, _call(client)) for _ in range(2)]
            futures = [future.result() for future in waiting]
            threading.Timer(0.1, held.go_on.set).start()
        assert [len(future.result(0).paths) for future in futures] == [1, 1]


def _call(client):
    return client.app.state.service.call(GuideBody.model_validate(ASKED))


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


def test_only_the_last_requests_are_remembered(policy):
    with serving(policy, remembered=3) as client:
        guides = [guided(client) for _ in range(5)]
        assert len(client.app.state.service.remembered) == 3
        assert "the last 3 requests are" in refused(client, 404, previous=guides[1]["request_id"])["detail"]
        guided(client, previous=guides[2]["request_id"])


def test_items_are_found_by_what_is_typed(client):
    found = client.get("/items", params={"q": "ali"}).json()["items"]
    assert [item["title"] for item in found][:2] == ["Alien (1979)", "Aliens (1986)"]
    assert len(client.get("/items", params={"q": "film", "limit": 3}).json()["items"]) == 3
    assert len(client.get("/items").json()["items"]) == 10
    assert client.get("/items", params={"q": "x" * 201}).status_code == 422
    assert client.get("/items", params={"limit": 51}).json()["field"] == "limit"


def test_what_is_served_is_told(client, simulated):
    assert client.get("/health").json() == {"status": "ok", "version": simulated.version}
    told = client.get("/policy").json()
    assert told == {
        "name": "prorl",
        "dataset": "tiny",
        "version": simulated.version,
        "n_items": N_ITEMS,
        "acceptances": [0.0, 0.5, 1.0],
        "acceptance": 1.0,
        "shortest": 3,
        "longest": 6,
        "history": 10,
        "explore": None,
        "search": None,
        "judge": None,
    }
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/guide", "/feedback", "/items", "/policy", "/health", "/metrics"}
    assert {"401", "404", "409", "422", "429", "503"} < set(schema["paths"]["/guide"]["post"]["responses"])


def test_metrics_count_requests_by_route_and_status_and_hold_nothing_of_users(policy):
    with serving(policy) as client:
        guide = guided(client, user="ada", length=3)
        told(client, guide, "accepted", 0)
        client.get("/secret-of-ada")
        client.get("/items", params={"q": "ada"})
        text = client.get("/metrics").text
    for line in (
        'prorl_requests_total{route="/guide",status="200"} 1.0',
        'prorl_requests_total{route="other",status="404"} 1.0',
        'prorl_request_seconds_count{route="/feedback"} 1.0',
        "prorl_batch_size_count 1.0",
        "prorl_items_shown_total 3.0",
        'prorl_answers_total{outcome="accepted"} 1.0',
        f'prorl_policy_info{{dataset="tiny",name="prorl",version="{policy.version}"}} 1.0',
    ):
        assert line in text
    assert "ada" not in text


def test_a_token_is_asked_for_where_there_is_one(policy):
    token = "a token of many characters"
    with serving(policy, token=token) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Basic {token}"}):
            for route in ("/items", "/policy", "/metrics", "/openapi.json", "/nowhere"):
                answer = client.get(route, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {token}"}
        assert client.post("/guide", json=ASKED, headers=right).status_code == 200


def test_a_token_is_compared_in_constant_time(policy, monkeypatch):
    compared, compare = [], hmac.compare_digest

    def counted(given, token):
        compared.append((given, token))
        return compare(given, token)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    token = "a token of many characters"
    with serving(policy, token=token) as client:
        for given in (token, token[:-1], "", token + "x", "é"):
            answer = client.get("/policy", headers={"Authorization": f"Bearer {given}".encode()})
            assert answer.status_code == (200 if given == token else 401)
    assert [given.decode() for given, _ in compared] == [token, token[:-1], "", token + "x", "é"]
    assert {own for _, own in compared} == {token.encode()}


def test_on_this_machine_alone_other_names_for_it_are_refused(policy):
    with serving(policy) as client:
        for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"):
            assert client.get("/health", headers={"host": host}).status_code == 200
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
            assert client.get("/health", headers={"host": host}).status_code == 403
    with serving(policy, host="0.0.0.0", open=True) as client:
        assert client.get("/health", headers={"host": "any.example"}).status_code == 200


def test_a_body_that_is_too_long_is_refused_with_and_without_its_length(policy):
    with serving(policy, max_body_kb=1) as client:
        long = b" " * 1025
        assert client.post("/guide", content=long).status_code == 413
        streamed = client.post("/guide", content=iter([long[:600], long[600:]]))
        assert streamed.status_code == 413
        assert streamed.headers["connection"] == "close"
        assert client.post("/guide", json=ASKED).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(policy):
    app = create_app(policy, serve_settings({"body_seconds": 0.05}))

    async def slow():
        yield b"{"
        await asyncio.sleep(0.5)
        yield b"}"

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/guide", content=slow())

    assert asyncio.run(ask()).status_code == 408


def test_every_answer_has_a_policy_that_lets_no_foreign_script_run(client):
    for route in ("/", "/health", "/static/app.js", "/nowhere"):
        policy = client.get(route).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
    assert "<script>" not in client.get("/").text
    assert client.get("/items", params={"q": title(6)}).headers["content-type"] == "application/json"
    assert client.get("/static/../app.py").status_code == 404
