"""The service in a process of its own: started, stopped, killed, and without the packages of the pipeline."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from prorl.config.section import ConfigError
from prorl.serving.log import read_log
from prorl.serving.run import listener
from prorl.serving.settings import serve_settings

ASKED = {"history": ["m1", "m5"], "target": "m4"}
ABSENT = (
    "numpy",
    "pandas",
    "transformers",
    "ruamel",
    "tqdm",
    "dvc",
    "recbole",
    "sklearn",
    "scipy",
    "accelerate",
)
SERVER = f"""
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
from prorl.serving.run import run
from prorl.serving.settings import serve_settings
run(sys.argv[1], serve_settings(json.loads(sys.argv[2])), "cpu")
"""


class Running:
    """A service without the packages of the extra `pipeline`, in a process of its own."""

    def __init__(self, bundle, **settings):
        arguments = [sys.executable, "-c", SERVER, str(bundle), json.dumps({"port": 0} | settings)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def address(self):
        return self.line.split()[-1]

    def ended(self, sign):
        """What it says on standard error, and its exit status, after the signal `sign`."""
        os.kill(self.process.pid, sign)
        _, errors = self.process.communicate(timeout=60)
        return errors, self.process.returncode


@pytest.fixture
def running(bundle):
    started = []

    def start(**settings):
        started.append(Running(bundle, **settings))
        return started[-1]

    yield start
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


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
