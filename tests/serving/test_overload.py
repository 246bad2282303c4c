"""More than the service can answer: nobody who was accepted is lost, the others are told at once; its memory
stays as it is.
"""

import asyncio
import json
import re
import signal
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from prorl.serving.limits import Gate, Limits
from prorl.serving.metrics import Metrics
from tests.serving.load import Load

REFUSALS = {429, 503}
WARM_UP = 12_000  # beyond what the service remembers, 10,000 requests
REQUESTS = 20_000


def logged(folder):
    """The request ids of the log, each of whose rows is there."""
    rows = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.open()]
    counts = {}
    for row in rows:
        counts[row["request_id"]] = counts.get(row["request_id"], 0) + 1
    assert all(counts[row["request_id"]] == row["of"] for row in rows)
    return sorted(name.removesuffix(".0") for name in counts)


def overloaded(address, *, requests, seconds):
    """The answers at twice the load that the service can sustain, and that load in requests a second."""

    async def ask():
        before = Load(address)
        await before.at_once(16, 200)  # what is made lazily
        sustained = await before.at_once(16, requests)
        before.close()
        assert before.answers.statuses == {200: 200 + requests}
        rate = 2 * sustained
        while True:
            load = Load(address)
            await load.at_rate(rate, seconds)
            load.close()
            before.answers.request_ids += load.answers.request_ids
            if load.answers.refused:  # another program may have slowed the first measurement
                return before.answers.request_ids, load.answers, sustained
            rate *= 2

    return asyncio.run(ask())


def check_overload(running, folder, **size):
    service = running(queue=32, log=str(folder), log_histories=True)
    shown, found, sustained = overloaded(service.address, **size)
    assert found.lost == []
    assert sum(found.statuses.values()) == found.sent
    assert set(found.statuses) <= {200, *REFUSALS}
    assert found.statuses[200] > 0.3 * sustained * size["seconds"], "it goes on working"
    assert service.ended(signal.SIGTERM)[1] == -signal.SIGTERM
    assert sorted(shown) == logged(folder), "who was shown something is in the log, and nobody else"
    slowest = sorted(found.seconds)[int(0.99 * len(found.seconds))]
    print(
        f"\n{found.sent} requests at twice {sustained:.0f} a second: {dict(found.statuses)}, 99% within "
        f"{slowest:.2f} s"
    )


def test_at_twice_the_load_that_it_sustains_nobody_who_was_accepted_is_lost(running, tmp_path):
    check_overload(running, tmp_path / "log", requests=200, seconds=1)


def test_beyond_what_may_be_under_way_it_says_so_at_once_and_goes_on():
    async def run():
        go_on, metrics = asyncio.Event(), Metrics(lambda: 0, {})

        async def application(scope, receive, send):
            await go_on.wait()
            assert (await receive())["body"] == b"{}"
            await PlainTextResponse("done")(scope, receive, send)

        gate = Gate(application, Limits(None, None, 2, 1000, 1.0), metrics)
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asking = [asyncio.create_task(client.post("/guide", content=b"{}")) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused = await client.post("/guide", content=b"{}")
            watching = asyncio.create_task(client.post("/health", content=b"{}"))
            await asyncio.sleep(0.05)
            go_on.set()
            answers = [answer.status_code for answer in await asyncio.gather(*asking, watching)]
            again = await client.post("/guide", content=b"{}")
        return refused, [*answers, again.status_code], metrics.text().decode()

    refused, answers, metrics = asyncio.run(run())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["detail"] == "2 requests are under way; try again in 1 s"
    assert "connection" not in refused.headers
    assert answers == [200] * 4
    assert 'prorl_requests_total{route="/guide",status="503"} 1.0' in metrics


@pytest.mark.slow
def test_five_minutes_at_twice_the_load_that_it_sustains(running, tmp_path):
    check_overload(running, tmp_path / "log", requests=5000, seconds=300)


def resident_mib(process):
    """Memory of a process, in MiB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (kib,) = re.findall(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kib) / 1024


@pytest.mark.slow
def test_twenty_thousand_requests_leave_its_memory_as_it_is(running, tmp_path):
    service = running(log=str(tmp_path / "log"), log_histories=True)

    async def ask():
        load = Load(service.address)
        memory = [resident_mib(service.process.pid)]
        for requests in (WARM_UP, REQUESTS):
            await load.at_once(16, requests)
            memory.append(resident_mib(service.process.pid))
        load.close()
        assert load.answers.statuses == {200: WARM_UP + REQUESTS}
        return memory

    first, before, after = asyncio.run(ask())
    print(f"\n{first:.0f} MiB at the start, {before:.0f} after {WARM_UP}, {after:.0f} after {REQUESTS} more")
    assert after < before + 8
