"""The service under load: the policy beside the search, served the same way.

    python -m benchmarks.serving [--quick] [--results <folder>]

The released policy of MovieLens-100K is served in a process of its own, by `prorl.serving.run`. So many
users at once each send a request, wait for its answer and send the next, for `SECONDS`. Histories are of ten
items and, like targets, drawn at random. Users and service share the machine. "One by one" is the same
service with batches of one request.
"""

import asyncio
import contextlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pyarrow as pa
import torch

from benchmarks.harness import Options, command_line, prepare, publish
from benchmarks.models import DATASET, TINY_SASREC, tiny_models
from prorl.bundle.folder import ITEMS_FILE, read_items
from prorl.bundle.writing import Released, write_bundle
from prorl.config.pretrain import Pretrain
from prorl.layout import Layout
from prorl.params import read_params
from prorl.policy.checkpoints import save_policy
from prorl.simulators.scoring import save_simulator
from prorl.tables import ITEMS, SEMANTIC_IDS, write_table

TITLE = "The service, 32 users at once"
SECONDS, QUICK_SECONDS = 15.0, 0.5
HISTORY = 10
SERVER = """
import sys
from prorl.serving.run import run
from prorl.serving.settings import serve_settings
run(sys.argv[1], serve_settings({"port": 0, "batch": int(sys.argv[2])}))
"""


@dataclass(frozen=True)
class Load:
    """A guide, users at once, and the most requests of a batch."""

    guide: str
    users: int
    batch: int = 64


LOADS = (
    Load("policy", 1),
    Load("policy", 32),
    Load("policy", 32, batch=1),
    Load("search", 1),
    Load("search", 32),
)


@dataclass(frozen=True)
class Served:
    """Seconds that each answer took, seconds in all, how many requests a batch had on average, and seconds
    of the service's processor time per request, which other work on the machine hardly lengthens.
    """

    latencies: list[float]
    seconds: float
    batch: float
    processor: float

    def row(self, load: Load) -> str:
        """Its line of the table."""
        hundredths = statistics.quantiles(self.latencies, n=100)
        cells = [
            load.guide,
            str(load.users),
            "one by one" if load.batch == 1 else f"{self.batch:.1f}",
            f"{len(self.latencies) / self.seconds:,.1f}",
            f"{1000 * self.processor:,.1f} ms",
            *(f"{1000 * hundredths[place - 1]:,.0f} ms" for place in (50, 95, 99)),
            f"{len(self.latencies):,}",
        ]
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """One line for each load."""
    options = prepare(TITLE, command_line(TITLE).parse_args())
    lines = [
        "| guide | users at once | requests per batch | requests per second | processor time each "
        "| median | 95% within | 99% within | requests |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with bundle(options) as folder:
        for load in LOADS:
            lines.append(served(folder, load, options).row(load))
            print(lines[-1], flush=True)
    publish(
        TITLE, [*lines, "", "Paths as the rules of params.yaml have them; no simulator judges them."], options
    )


@contextlib.contextmanager
def bundle(options: Options) -> Iterator[Path]:
    """The released policy, or a tiny one where `options.quick`."""
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            yield tiny_bundle(Path(folder))
        return
    folder = Layout(DATASET).released("prorl")
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder; `make repro` makes the released policy that is served")
    yield folder


def served(folder: Path, load: Load, options: Options) -> Served:
    """What users find whom a service of its own answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), str(load.batch)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None, "a pipe"
    try:
        address = process.stdout.readline().split()[-1]
        seconds = QUICK_SECONDS if options.quick else SECONDS
        return asyncio.run(users(address, psutil.Process(process.pid), folder, load, seconds))
    finally:
        process.terminate()
        process.wait()


class Connection:
    """A user's connection, kept open, with as little work as can be: what a client computes, the service on
    the same machine does not.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str):
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def to(cls, address: str) -> Self:
        """One to the service at `address`, `http://host:port/`."""
        host = address.split("/")[2]
        name, _, port = host.rpartition(":")
        return cls(*await asyncio.open_connection(name, int(port)), host)

    async def ask(self, method: str, route: str, body: object = None) -> bytes:
        """The body of the answer; raises `AssertionError` for one that is not 200."""
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {route} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length = next(line for line in headers if line.lower().startswith("content-length:"))
        answer = await self._reader.readexactly(int(length.split(":")[1]))
        if status.split()[1] != "200":
            raise AssertionError(f"{route}: got {status} {answer.decode()}, allowed: 200")
        return answer

    async def guided(self, body: object) -> float:
        """Seconds until there is a path; raises `AssertionError` for an empty one."""
        started = time.perf_counter()
        answer = await self.ask("POST", "/guide", body)
        taken = time.perf_counter() - started
        if b'"items":[]' in answer:
            raise AssertionError("got an empty path, allowed: one of an item or more")
        return taken

    async def counted(self) -> dict[str, float]:
        """The service's metrics that have no labels."""
        text = (await self.ask("GET", "/metrics")).decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def users(address: str, service: psutil.Process, folder: Path, load: Load, seconds: float) -> Served:
    """Send the requests of all users, after one of each that finds everything loaded."""
    raw_ids = [item.raw_id for item in read_items(folder / ITEMS_FILE)]
    connections = [await Connection.to(address) for _ in range(load.users)]
    prompts = [prompts_of(number, raw_ids, load.guide) for number in range(load.users)]
    pairs = list(zip(connections, prompts, strict=True))
    await asyncio.gather(*(connection.guided(next(own)) for connection, own in pairs))
    latencies: list[float] = []
    before, used, started = await connections[0].counted(), processor_time(service), time.perf_counter()

    async def user(connection: Connection, own: Iterator[dict]) -> None:
        while time.perf_counter() - started < seconds:
            latencies.append(await connection.guided(next(own)))

    await asyncio.gather(*(user(connection, own) for connection, own in pairs))
    taken, used = time.perf_counter() - started, processor_time(service) - used
    after = await connections[0].counted()
    for connection in connections:
        connection.close()
    n_batches = after["prorl_batch_size_count"] - before["prorl_batch_size_count"]
    size = (after["prorl_batch_size_sum"] - before["prorl_batch_size_sum"]) / n_batches
    return Served(latencies, taken, size, used / len(latencies))


def prompts_of(user: int, raw_ids: list[str], guide: str) -> Iterator[dict]:
    """A user's requests, of random items."""
    drawn = random.Random(user)
    while True:
        *history, target = drawn.sample(raw_ids, HISTORY + 1)
        yield {"history": history, "target": target, "guide": guide}


def processor_time(service: psutil.Process) -> float:
    """Seconds that the service has computed."""
    times = service.cpu_times()
    return times.user + times.system


def tiny_bundle(folder: Path) -> Path:
    """A released policy and simulator of a few items with random weights."""
    models = tiny_models(torch.device("cpu"))
    catalogue, n_items = models.catalogue, models.catalogue.trie.n_items
    codes = catalogue.trie.item_codes[1:]
    numbers = np.arange(1, n_items + 1, dtype=np.int32)
    ids = {"item": numbers, "codes": codes.tolist(), "tokens": catalogue.vocabulary.tokens(codes).tolist()}
    write_table(folder / "ids.parquet", pa.table(ids, schema=SEMANTIC_IDS), SEMANTIC_IDS)
    names = [f"item {number}" for number in numbers]
    items = {"item": numbers, "raw_id": names, "title": names, "attributes": [["a"]] * n_items, "text": names}
    write_table(folder / "items.parquet", pa.table(items, schema=ITEMS), ITEMS)
    save_policy(folder / "policy", models.policy, catalogue, folder / "ids.parquet")
    sasrec, simulator = TINY_SASREC, folder / "simulator"
    save_simulator(simulator, models.simulator.model, "SASRec", sasrec.model_dump(), 50)
    released = Released(
        dataset="tiny",
        name="prorl",
        policy=folder / "policy",
        decoding=catalogue.decoding,
        blocked=[],
        history_length=HISTORY,
        items=folder / "items.parquet",
        simulator=simulator,
        params={"pretrain": read_params().section(Pretrain, DATASET).as_json()},
        metrics={},
        card="Random weights.\n",
    )
    write_bundle(folder / "released", released)
    return folder / "released"


if __name__ == "__main__":
    main()
