"""The service under made-up requests: none is its fault, and every answer is one that its OpenAPI has.

Schemathesis makes requests of the service's own schema, valid ones and others; it comes with `make fuzz`.
What else nobody would send is sent without it.
"""

import importlib
import json
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from prorl.serving.app import create_app
from prorl.serving.settings import serve_settings
from tests.hostile import BOUNDED, any_bytes

BODY = {"history": ["m1", "m5"], "target": "m4"}
ROUTES = ("/guide", "/feedback")
EXAMPLES = int(os.environ.get("PRORL_API_EXAMPLES", "100"))
ALWAYS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
CHECKS = {"positive": ALWAYS, "negative": (*ALWAYS, "negative_data_rejection")}


@pytest.fixture(scope="module")
def app(simulated, tmp_path_factory):
    """A service that logs and explores."""
    log = tmp_path_factory.mktemp("log")
    options = {"log": log / "log", "log_histories": True, "explore": 1.0, "batch_wait_ms": 0.0}
    return create_app(simulated, serve_settings(options))


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


def answered(client, route, content, kind="application/json"):
    """The answer is one of those that the schema has, in whole JSON, and no fault of the service's."""
    answer = client.post(route, content=content, headers={"content-type": kind})
    assert answer.status_code in (200, 400, 404, 409, 413, 422), answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"detail", "field", "suggestions"}
        assert len(answer.json()["detail"].splitlines()) == 1
    return answer


@BOUNDED
@given(
    st.sampled_from(ROUTES),
    any_bytes(json.dumps(BODY).encode()),
    st.sampled_from(["application/json", "text/plain"]),
)
def test_a_spoilt_body_is_answered_or_refused(client, route, content, kind):
    answered(client, route, content, kind)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"\xff",
            b"null",
            b"[]",
            b'"\\ud800"',
            b"[" * 30_000,
            b"9" * 5000,
            b'{"a": NaN}',
            b"\xff\xfe{\x00}\x00",
        ),
        b'{"\\ud800": 1}',
        b'{"a\\nb": 1, "\\u2028": 2}',
        b'{"history": ["\\ud800"], "target": "m4", "request_id": "\\ud800", "outcome": "left"}',
        b'{"history": ["m1"], "target": "\\u0000", "request_id": "\\u0000", "outcome": "left"}',
        b'{"history": ["m1"], "target": "m4", "user": "\\ud800"}',
        b'{"history": ["m1"], "target": "m4", "acceptance": 1e999, "request_id": "x", "outcome": "left"}',
        b'{"history": ["m1"], "target": "m4", "n": 1e400, "path": 99999999999999999999999}',
        b'{"history": ["m1"], "target": "m4", "length": [1, 99999999999999999999999]}',
        b'{"history": ["m1"], "target": "m4", "length": [true, 2], "avoid": ["\\ud800"]}',
        b'{"request_id": "x", "path": 99999999999999999999999, "position": 1e400, "outcome": "left"}',
        b'{"history": ["m1"], "history": ["\\ud800"], "target": "m4"}',
    ],
)
def test_a_body_of_odd_json_is_answered_or_refused(client, route, content):
    answered(client, route, content)


@pytest.mark.parametrize(
    "query", ["q=%00", "q=%ff", "q=%ed%a0%80", "q=" + "a" * 201, "limit=0", "limit=1e9", "limit=%00"]
)
def test_an_odd_query_is_answered_or_refused(client, query):
    answer = client.get(f"/items?{query}")
    assert answer.status_code in (200, 422)
    answer.json()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "X"])
def test_another_method_is_told_the_right_one(client, method):
    for route in ROUTES:
        answer = client.request(method, route)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


def over_what_is_there(body, shown):
    """Put items of the catalogue, and the last of the requests `shown`, into a made-up body."""
    if not isinstance(body, dict):
        return
    if "outcome" in body:
        body |= {"request_id": shown[-1], "path": 0}
        if body.get("position"):
            body["position"] %= 6
        return
    went_on = body.pop("previous", None) is not None and len(shown) > 1
    history = [f"m{len(text) % 40 + 1}" for text in body.pop("history", None) or ["x"]]
    body.pop("target", None)
    body |= {"previous": shown[-1], "path": 0} if went_on else {"history": history, "target": "m7"}
    body |= {"avoid": [], "acceptance": None, "length": None, "n": 1 + (body.get("guide") != "search")}


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_one_that_the_schema_has(client, mode):
    """Requests that the schema allows, half of them over items that there are, and others."""
    schemathesis = pytest.importorskip("schemathesis", reason="make fuzz installs it")
    requests = importlib.import_module("requests")
    checks = importlib.import_module("schemathesis.checks")
    checks.load_all_checks()
    chosen = [getattr(checks, name) for name in CHECKS[mode]]
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    seen, shown = Counter(), ["none"]

    @settings(BOUNDED, max_examples=EXAMPLES)
    @given(schema.as_strategy(schemathesis.GenerationMode(mode)), st.booleans())
    def conforms(case, of_items):
        if of_items and mode == "positive":
            over_what_is_there(case.body, shown)
        sent = requests.Request(**case.as_transport_kwargs("http://127.0.0.1:8000")).prepare()
        answer = client.request(sent.method, sent.url, headers=dict(sent.headers), content=sent.body)
        seen[case.operation.path, answer.status_code] += 1
        case.validate_response(answer, checks=chosen)
        if case.operation.path == "/guide" and answer.status_code == 200:
            shown.append(answer.json()["request_id"])

    conforms()
    assert {path for path, _ in seen} >= {"/guide", "/feedback", "/items"}
    if mode == "positive":
        assert seen["/guide", 200], seen
        assert seen["/feedback", 200], seen
