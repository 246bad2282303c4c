"""Requests that wait for one another: batches, overload, failures and the end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from prorl.serving.schemas import GuideBody
from tests.serving.calls import ASKED, guided, ids, serving


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
