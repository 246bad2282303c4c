"""What stands before every request: who may call, how long a body may be and take; headers of answers.

Plain ASGI: what is refused here costs nothing further, and every answer is counted.
"""

import asyncio
import hmac
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prorl.serving.metrics import Metrics

# Nothing but the service's own files: no script within a page, no other host, no frame around it.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
ROUTES = ("/", "/guide", "/feedback", "/items", "/policy", "/health", "/metrics", "/openapi.json")
LINGER_SECONDS = 1.0  # in which what a refused client still sends is thrown away
UNBOUNDED = ("/health", "/metrics")  # who watches the service is answered however much it has to do
WITHOUT_TOKEN = ("/", "/health")  # and /static/: a page that asks for the token, and probes


@dataclass(frozen=True)
class Limits:
    """token: None where none is needed; hosts: names that callers may call the service by, None for any;
    requests: under way at once.
    """

    token: bytes | None
    hosts: tuple[str, ...] | None
    requests: int
    body_bytes: int
    body_seconds: float


class Refused(Exception):
    """A request that goes no further; retry_after: in how many seconds it might."""

    def __init__(self, status: int, detail: str, retry_after: int | None = None):
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after


class Gate:
    """The ASGI application `app` behind `limits`."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics):
        self._app, self._limits, self._metrics = app, limits, metrics
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; one of the lifespan goes straight through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        try:
            try:
                self._check_caller(scope)
                body = await self._body(scope, receive)
                if self._under_way >= self._limits.requests and scope["path"] not in UNBOUNDED:
                    raise Refused(503, f"{self._under_way} requests are under way; try again in 1 s", 1)
            except Refused as refused:
                await _refuse(receive, send_with_headers, refused)
                return
            self._under_way += 1
            try:
                await self._app(scope, _replayed(body, receive), send_with_headers)
            finally:
                self._under_way -= 1
        finally:
            path = scope["path"]
            route = path if path in ROUTES else "/static" if path.startswith("/static/") else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _check_caller(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._limits.hosts is not None and name not in self._limits.hosts:
            # A page of another site, whose name was made to point here, must not read what is served.
            raise Refused(403, f"host: got {name!r}, allowed: {', '.join(self._limits.hosts)}")
        path = scope["path"]
        if self._limits.token is None or path in WITHOUT_TOKEN or path.startswith("/static/"):
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._limits.token):
            raise Refused(401, "token: missing or wrong, allowed: the header `Authorization: Bearer TOKEN`")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, so that no slow one holds anything but its own connection."""
        too_long = Refused(413, f"body: too long, allowed: {self._limits.body_bytes} bytes")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limits.body_bytes:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "body: it ended early")
                    body += message.get("body", b"")
                    if len(body) > self._limits.body_bytes:
                        raise too_long
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, f"body: not there after {self._limits.body_seconds:g} s") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives `body` first, and then whatever `receive` gives."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(receive: Receive, send: Send, refused: Refused) -> None:
    """Answer at once. Where the body was not read, its connection ends a moment later: who still sends would
    lose the answer with it.
    """
    body = json.dumps({"detail": refused.detail, "field": None, "suggestions": []}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    is_left = refused.status in (400, 408, 413)  # the rest of the body is not read
    if is_left:
        headers.append((b"connection", b"close"))
    start: dict[str, Any] = {"type": "http.response.start", "status": refused.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": is_left})
    if is_left:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})
