"""What tests say to the service over HTTP."""

from contextlib import contextmanager

from starlette.testclient import TestClient

from prorl.serving.app import create_app
from prorl.serving.settings import serve_settings

ASKED = {"history": ["m1", "Heat (1995)"], "target": "The Piano"}


@contextmanager
def serving(policy, base_url="http://127.0.0.1:8000", **settings):
    app = create_app(policy, serve_settings(settings))
    with TestClient(app, base_url=base_url, raise_server_exceptions=False) as client:
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
