"""The service in a process of its own: started, stopped, killed, and without the packages of the pipeline."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from prorl.config.section import ConfigError
from prorl.serving.log import read_log
from prorl.serving.run import listener
from prorl.serving.settings import serve_settings

ASKED = {"history": ["m1", "m5"], "target": "m4"}


def test_it_guides_without_the_pipelines_packages_and_answers_who_waits_before_it_stops(running, policy):
    service = running(batch_wait_ms=300.0)
    assert service.line.startswith(f"prorl on tiny, version {policy.version}: http://127.0.0.1:")
    with httpx.Client(base_url=service.address, timeout=30) as client, ThreadPoolExecutor(4) as pool:
        found = client.post("/guide", json=ASKED).json()
        expected = policy.guide(["m1", "m5"], "m4")[0]
        assert [item["raw_id"] for item in found["paths"][0]["items"]] == [i.raw_id for i in expected.items]
        waiting = [pool.submit(client.post, "/guide", json=ASKED) for _ in range(4)]
        time.sleep(0.1)
        errors, status = service.ended(signal.SIGTERM)
        assert [answer.result().status_code for answer in waiting] == [200] * 4
    assert "Traceback" not in errors
    assert status == -signal.SIGTERM, "it ends by the signal, after all that"


def test_a_kill_while_it_serves_leaves_a_log_of_all_that_was_shown(running, tmp_path):
    service = running(explore=1.0, log=str(tmp_path / "log"), log_histories=True, rotate_mb=0.02)
    shown = []

    def ask(_):
        with httpx.Client(base_url=service.address, timeout=30) as client:
            while True:
                try:
                    shown.append(client.post("/guide", json=ASKED).json()["request_id"])
                except httpx.HTTPError:
                    return

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        while len(shown) < 60:
            time.sleep(0.01)
        service.ended(signal.SIGKILL)
        for one in asking:
            one.result()
    assert len(list((tmp_path / "log").iterdir())) > 1
    log = read_log(tmp_path / "log").log
    assert {f"{name}.0" for name in shown} <= set(log.request_id.tolist())
    assert (tmp_path / "log.key").stat().st_mode & 0o777 == 0o600


def test_an_address_that_is_taken_is_one_line():
    with listener(serve_settings({"port": 0})) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"serve: 127.0.0.1:{port}: .*, allowed: a free address"):
            listener(serve_settings({"port": port}))
