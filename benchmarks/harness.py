"""Side-by-side timings of our version of one computation and the obvious ones.

All run in one process, on the same inputs, in turns. A benchmark is a module with a `CLAIM`, a function
`cases(options)` that yields `Case`s, an entry in `benchmarks/__main__.py`, and

    if __name__ == "__main__":
        main(CLAIM, cases)

which gives it the command line

    python -m benchmarks.<name> [--quick] [--results <folder>]

`--quick` runs a smoke size on tiny models of random weights, to see that it runs and that the versions
agree; its times mean nothing. The table goes to the terminal. With `--results` it also replaces its own
section of `<folder>/<hardware>.md`.

Every version runs once first: its result is checked, its memory is measured, and everything lazy is made.
Then the versions take turns, in one order and then in the other, so that other work on the machine affects
all of them alike; the median counts. An obvious version far behind another in its first run takes no turns,
and its row shows that one run. The process keeps freed memory for all of them
(`prorl.runtime.keep_freed_memory`), and autograd's anomaly detection is off.
"""

import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from prorl.files import atomic_file
from prorl.runtime import keep_freed_memory

ROOT = Path(__file__).parents[1]
RESULTS = Path("benchmarks/results")
PACKAGES = ("torch", "transformers", "recbole")
MIN_REPEATS, MAX_REPEATS, SECONDS_PER_CASE = 3, 9, 15
FAR_BEHIND = 1.05
SAMPLE_EVERY_SECONDS = 0.003


class Disagreement(AssertionError):
    """Two versions that should give the same result do not.

    The message says what differs, by how much, and what is allowed.
    """


@dataclass(frozen=True)
class Claim:
    """What a benchmark shows: its title, and by what factor ours should be faster.

    `cpu` is the factor on a CPU of 2 cores, `gpu` that on a GPU.
    """

    title: str
    cpu: float
    gpu: float

    def aim(self, device: torch.device) -> float:
        """The factor meant on `device`."""
        return self.gpu if device.type == "cuda" else self.cpu


@dataclass(frozen=True)
class Case:
    """One comparison: `ours` and the `obvious` versions by name, functions without arguments.

    `check(our result, results of the obvious versions by name)` raises `Disagreement`, or says in one line
    how well they agree. `count(result)` is the number of `unit`s that went into a result, e.g. tokens.
    """

    name: str
    ours: Callable[[], Any]
    obvious: dict[str, Callable[[], Any]]
    check: Callable[[Any, dict[str, Any]], str]
    unit: str
    count: Callable[[Any], float]


@dataclass(frozen=True)
class Measurement:
    """One version: the seconds of its timed runs, and memory and result of its first run.

    `peak_bytes` is the most memory it held beyond what was there before.
    """

    seconds: list[float]
    peak_bytes: int
    result: Any

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Options:
    """The command line of every benchmark, and the device it runs on."""

    quick: bool
    results: Path | None
    device: torch.device


def main(claim: Claim, cases: Callable[["Options"], Iterable[Case]]) -> None:
    """Measure all `cases` of a benchmark; print and store their table."""
    options = prepare(claim.title, command_line(claim.title).parse_args())
    lines = [Row.HEAD, Row.RULE]
    print("\n".join(lines), flush=True)
    notes = []
    for case in cases(options):
        rows, agreement = compare(case, claim.aim(options.device), options)
        print("\n".join(rows), flush=True)
        lines += rows
        notes.append(f"{case.name}: {agreement}")
    publish(claim.title, [*lines, "", *(f"- {note}" for note in notes)], options)


def command_line(description: str) -> argparse.ArgumentParser:
    """The command line of every benchmark.

    A benchmark that does not compare versions of a computation may add to it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke size on tiny models; its times mean nothing"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help=f"store the table there, e.g. {RESULTS}"
    )
    return parser


def prepare(title: str, arguments: argparse.Namespace) -> Options:
    """Set the process up as stages do, and say what it runs on."""
    keep_freed_memory()
    if torch.is_anomaly_enabled():
        raise RuntimeError("autograd's anomaly detection is on; no version would be measured as it runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{title}: {hardware(device)}, {torch.get_num_threads()} threads", flush=True)
    return Options(arguments.quick, arguments.results, device)


def compare(case: Case, aim: float, options: Options) -> tuple[list[str], str]:
    """The rows of `case`, and how well its versions agree. Raises `Disagreement`."""
    measured = measure({"ours": case.ours, **case.obvious}, options, always="ours")
    ours = measured.pop("ours")
    agreement = case.check(ours.result, {name: other.result for name, other in measured.items()})
    rows = [Row.of(case, "**ours**", ours, "", "")]
    best = min(measured.values(), key=lambda other: other.median)
    for name, other in measured.items():
        # Per unit, since results that are drawn at random differ a little in size; the aim is for the fastest
        # of the obvious versions.
        ratio = (other.median / case.count(other.result)) / (ours.median / case.count(ours.result))
        rows.append(Row.of(case, name, other, f"{ratio:.1f}x", f">= {aim:g}x" if other is best else ""))
    return rows, agreement


def measure(
    versions: dict[str, Callable[[], Any]], options: Options, always: str | None = None
) -> dict[str, Measurement]:
    """Run each version once and then in turns, 3 to 9 times as time allows; once where `options.quick`.

    Where `always` names a version, those of the others that are far behind the best of the others in their
    first run take no turns.
    """
    results, peaks, first = {}, {}, {}
    for name, run in versions.items():
        started = time.perf_counter()
        results[name], peaks[name] = with_peak_memory(run, options.device)
        first[name] = time.perf_counter() - started
    best = min(seconds for name, seconds in first.items() if name != always)
    taking_turns = [name for name in versions if always in (None, name) or first[name] <= FAR_BEHIND * best]
    seconds: dict[str, list[float]] = {
        name: [] if name in taking_turns else [first[name]] for name in versions
    }
    started = time.perf_counter()
    for repeat in range(1 if options.quick else MAX_REPEATS):
        if repeat >= MIN_REPEATS and time.perf_counter() - started > SECONDS_PER_CASE:
            break
        for name in taking_turns if repeat % 2 == 0 else reversed(taking_turns):
            seconds[name].append(timed(versions[name], options.device))
    return {name: Measurement(seconds[name], peaks[name], results[name]) for name in versions}


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one run, the device's work included."""
    gc.collect()
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait for all work given to `device`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def with_peak_memory(run: Callable[[], Any], device: torch.device) -> tuple[Any, int]:
    """The result of one run, and the most bytes it held at once beyond those held before.

    On a GPU these are the device's bytes, else the process's resident ones. Freed memory that the process
    kept is given back first, so that it does not count as the run's own.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = run()
        synchronise(device)
        return result, torch.cuda.max_memory_allocated(device) - before
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    before = process.memory_info().rss
    peak, done = [before], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY_SECONDS):
            peak.append(max(peak.pop(), process.memory_info().rss))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        result = run()
    finally:
        done.set()
        sampler.join()
    return result, max(peak[0], process.memory_info().rss) - before


class Row:
    """Lines of the table."""

    HEAD = "| case | version | median | runs | per second | peak memory | ours is faster by | aim |"
    RULE = "|---|---|---|---|---|---|---|---|"

    @staticmethod
    def of(case: Case, name: str, measured: Measurement, ratio: str, aim: str) -> str:
        """One version's line."""
        rate = case.count(measured.result) / measured.median
        memory = f"{measured.peak_bytes / 2**20:,.0f} MiB"
        cells = [
            case.name,
            name,
            f"{measured.median:.3f} s",
            len(measured.seconds),
            f"{rate:,.0f} {case.unit}",
            memory,
            ratio,
            aim,
        ]
        return f"| {' | '.join(map(str, cells))} |"


def publish(title: str, lines: list[str], options: Options) -> None:
    """Print what follows the table; with `--results`, replace the section `title` of the hardware's page."""
    print("\n".join(line for line in lines if not line.startswith("|")).strip(), flush=True)
    if options.results is None:
        return
    name = hardware(options.device)
    path = options.results / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.md"
    stored = path.read_text(encoding="utf-8") if path.exists() else f"# {name}\n"
    head, *sections = re.split(r"^(?=## )", stored, flags=re.MULTILINE)
    kept = {section.splitlines()[0].removeprefix("## "): section.strip() for section in sections}
    kept[title] = "\n".join([f"## {title}", "", circumstances(options), "", *lines]).strip()
    options.results.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        Path(temporary).write_text("\n\n".join([head.strip(), *kept.values()]) + "\n", encoding="utf-8")
    print(f"stored in {path}", flush=True)


def circumstances(options: Options) -> str:
    """Date, commit, versions and threads, in one line."""
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    quick = "; **smoke size: the times mean nothing**" if options.quick else ""
    python = platform.python_version()
    threads = f"{torch.get_num_threads()} threads{quick}"
    return f"{datetime.date.today()}, commit {commit()}, Python {python}, {versions}, {threads}"


def commit(checkout: Path = ROOT) -> str:
    """The commit of the checkout, with `-dirty` where files differ from it.

    Stored results do not count, since every benchmark of a run stores its own. `PRORL_COMMIT` names the
    commit where there is no git repository.
    """
    if "PRORL_COMMIT" in os.environ:
        return os.environ["PRORL_COMMIT"]
    head = _git(checkout, "rev-parse", "--short", "HEAD")
    if head is None:
        return "unknown (no git repository here)"
    changed = _git(
        checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){RESULTS}"
    )
    return f"{head}-dirty" if changed else head


def _git(checkout: Path, *arguments: str) -> str | None:
    """What git says, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def hardware(device: torch.device) -> str:
    """The GPU's name; or the processor's, and how many of its cores the process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (
        found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
    ):
        model = re.sub(r"\((R|TM)\)", "", found[1])
    return f"{model}, {len(os.sched_getaffinity(0))} cores"
