"""Tokens, names of the host, lengths of bodies, and what metrics and answers give away."""

import asyncio
import hmac

import httpx

from prorl.serving.app import create_app
from prorl.serving.settings import serve_settings
from tests.serving.bundles import title
from tests.serving.calls import ASKED, guided, serving, told


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
