"""Clients that send or read slowly, much, or nonsense: each is told soon, and holds up nobody else."""

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.serving.load import answer, request
from tests.serving.running import Running

BODY_SECONDS = 0.5
PROMPT = 1.0  # seconds for what needs no waiting, on a busy machine
CLIENTS = 60


@pytest.fixture(scope="module")
def service(bundle):
    service = Running(bundle, body_seconds=BODY_SECONDS, max_body_kb=8, queue=64)
    yield service
    errors, _ = service.ended(signal.SIGTERM)
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def address(service):
    parts = urlsplit(service.address)
    return parts.hostname, parts.port


def at(address, talk):
    """What `talk(reader, writer, others)` gives, with a connection of its own; `others(n)` opens more."""

    async def run():
        opened = []

        async def more(n):
            new = await asyncio.gather(*(asyncio.open_connection(*address) for _ in range(n)))
            opened.extend(new)
            return new

        ((reader, writer),) = await more(1)
        try:
            async with asyncio.timeout(20):
                return await talk(reader, writer, more)
        finally:
            for _, writer in opened:
                writer.transport.abort()

    return asyncio.run(run())


async def timed(reader, writer, content):
    """Status and body of the answer to `content`, and the seconds it took."""
    started = time.monotonic()
    writer.write(content)
    status, headers, body = await answer(reader)
    return status, headers, body, time.monotonic() - started


async def answered_soon(reader, writer):
    """A good request, as others send it meanwhile."""
    status, _, _, seconds = await timed(reader, writer, request())
    assert status == 200
    assert seconds < PROMPT


async def ended(reader):
    """Everything until the service ends the connection, be it by a reset, as who goes on sending meets it."""
    text = b""
    with suppress(ConnectionError):
        while part := await reader.read(2**16):
            text += part
    return text


async def trickle(writer, content):
    """A byte at a time, until the service has enough of it."""
    try:
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)
    except ConnectionError:
        return


SLOW = {
    "nothing": (b"", b""),
    "the head": (b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"x-slow: " + b"a" * 200),
    "the body": (request()[: request().index(b"\r\n\r\n") + 4], b"{" * 200),
}


@pytest.mark.parametrize("what", SLOW)
def test_who_sends_slowly_is_told_soon_and_holds_up_nobody(address, what):
    head, rest = SLOW[what]

    async def talk(reader, writer, others):
        started = time.monotonic()
        slow = await others(CLIENTS)
        for _, sending in slow:
            sending.write(head)
        trickling = [asyncio.create_task(trickle(sending, rest)) for _, sending in slow]
        for _ in range(5):
            await answered_soon(reader, writer)
        told = await asyncio.gather(*(ended(receiving) for receiving, _ in slow))
        seconds = time.monotonic() - started
        for task in trickling:
            task.cancel()
        assert BODY_SECONDS * 0.9 < seconds < BODY_SECONDS + 2
        assert all(text.startswith(b"HTTP/1.1 408 ") for text in told)
        await answered_soon(reader, writer)

    at(address, talk)


def connections(service):
    """How many sockets the service has open."""
    found = 0
    for file in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(file).startswith("socket:")
    return found


def test_who_never_reads_is_left_and_holds_up_nobody(service, address):
    async def talk(reader, writer, others):
        await answered_soon(reader, writer)
        before = connections(service)
        deaf = [socket.socket() for _ in range(4)]
        for asking in deaf:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            asking.connect(address)
            # Far more answers than a kernel keeps for who reads nothing.
            asking.sendall(b"GET /static/style.css HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 1000)
        for _ in range(5):
            await answered_soon(reader, writer)
        assert connections(service) == before + len(deaf)
        started = time.monotonic()
        while connections(service) > before:
            assert time.monotonic() - started < BODY_SECONDS + 5
            await asyncio.sleep(0.05)
        await answered_soon(reader, writer)
        for asking in deaf:
            asking.close()

    at(address, talk)


def head_of(length, more=b""):
    return b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n%s\r\n" % (length, more)


def test_a_body_of_many_megabytes_gets_its_answer_while_it_is_sent(address):
    async def talk(reader, writer, others):
        for chunked in (False, True):
            receiving, sending = (await others(1))[0]
            part = b" " * 2**20
            if chunked:
                sending.write(
                    b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                part = b"%x\r\n%s\r\n" % (len(part), part)
            else:
                sending.write(head_of(20 * len(part)))
            for _ in range(20):
                sending.write(part)
            status, headers, body = await asyncio.wait_for(answer(receiving), PROMPT)
            assert status == 413
            assert headers["connection"] == "close"
            assert body.startswith(b'{"detail": "body: too long, allowed: 8192 bytes"')
        await answered_soon(reader, writer)

    at(address, talk)


MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "no method": b"\r\n\r\n / HTTP/1.1\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "a header without end": b"GET /health HTTP/1.1\r\nx: " + b"a" * 100_000,
    "a length that is none": b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    "two lengths": head_of(5, b"content-length: 6\r\n") + b"{}   ",
    "a chunk that is none": (
        b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    ),
    "a length beyond numbers": b"POST /guide HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %s\r\n\r\n"
    % (b"9" * 30),
    "no JSON": head_of(1) + b"{",
    "no text": head_of(2, b"content-type: application/json\r\n") + b"\xff\xfe",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_request_is_answered_at_once(address, what):
    async def talk(reader, writer, others):
        receiving, sending = (await others(1))[0]
        status, _, body, seconds = await timed(receiving, sending, MALFORMED[what])
        assert status in (400, 413, 422), body
        assert seconds < PROMPT
        await answered_soon(reader, writer)

    at(address, talk)


def test_a_body_that_ends_early_holds_up_nobody(address):
    async def talk(reader, writer, others):
        for _, sending in await others(CLIENTS):
            sending.write(head_of(100) + b"{")
            await sending.drain()
            sending.close()
        await answered_soon(reader, writer)

    at(address, talk)
