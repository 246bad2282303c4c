"""Many requests over plain sockets: cheap enough to ask a service on the same machine more than it can do."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONGEST = 60.0  # seconds; who has no answer by then is lost
ASKED = {"history": ["m1", "m5"], "target": "m4"}


def request(body: object = ASKED, path: str = "/guide") -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


@dataclass
class Answers:
    """What came of requests: how many were sent, answered by status, or `lost`; ids of those with paths; how
    long each took, in seconds.
    """

    sent: int = 0
    statuses: Counter = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """Those that were sent away, to try again."""
        return self.statuses[429] + self.statuses[503]


class Load:
    """Asks the service at `address`; connections are kept and used again."""

    def __init__(self, address: str, body: object = ASKED):
        parts = urlsplit(address)
        self._where, self._content = (parts.hostname, parts.port), request(body)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.answers = Answers()

    async def ask(self) -> None:
        """One request and its answer."""
        started, found = time.perf_counter(), self.answers
        found.sent += 1
        try:
            async with asyncio.timeout(LONGEST):
                status, body = await self._answer()
        except (OSError, EOFError) as error:  # the first has a timeout among its kinds
            found.lost.append(repr(error))
            return
        found.statuses[status] += 1
        found.seconds.append(time.perf_counter() - started)
        if status == 200:
            found.request_ids.append(json.loads(body)["request_id"])

    async def _answer(self) -> tuple[int, bytes]:
        """Status and body; over a connection that was idle, if the service has not ended it meanwhile."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                try:
                    return await self._over(reader, writer)
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        raise
                except ConnectionError:
                    pass
            writer.close()
        return await self._over(*await asyncio.open_connection(*self._where))

    async def _over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
        writer.write(self._content)
        status, headers, body = await answer(reader)
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._free.append((reader, writer))
        return status, body

    async def at_once(self, users: int, requests: int) -> float:
        """So many requests, of so many users who each wait for an answer; gives the requests a second."""
        left = iter(range(requests))

        async def one() -> None:
            for _ in left:
                await self.ask()

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(users)))
        return requests / (time.perf_counter() - started)

    async def at_rate(self, rate: float, seconds: float) -> None:
        """So many requests a second, whatever becomes of earlier ones; then all answers are waited for."""
        started, asking = time.perf_counter(), set()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(started + number / rate - time.perf_counter())
            task = asyncio.create_task(self.ask())
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._free:
            writer.close()
        self._free.clear()
