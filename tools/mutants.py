"""Tests of the tests: `python -m tools.mutants` changes the heart of the library one small change at a time,
runs the tests that reach the change, and names every change that no test notices.

Everything happens in copies of the tree. The tests of a room run once unchanged, with a record of the lines
that each test reaches; a change then meets those tests alone, the quickest first, until one fails. A change
that makes them several times slower counts as noticed. Changes that alter no result are listed in
`tools/equivalent_mutants.toml`, by module and source line, each with its reason. The exit status is 1 where a
change survives that is not listed there, or an entry there has no change any more.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import os
import pickle
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prorl.runtime import progress
from tools.mutation import Mutant, mutants_of

HEART = (
    "prorl/metrics/*.py",
    "prorl/paths/mining.py",
    "prorl/semantic_ids/trie.py",
    "prorl/simulators/scoring.py",
    "prorl/policy/actions.py",
    "prorl/policy/beam.py",
    "prorl/policy/catalogue.py",
    "prorl/policy/decoding.py",
    "prorl/policy/unfinished.py",
    "prorl/guides/search.py",
    "prorl/rl/*.py",
)
EQUIVALENT = Path("tools/equivalent_mutants.toml")
OWN = ("prorl", "tests", "stages", "benchmarks", "tools")  # packages of the tree
PASSED, FOREIGN = 0, 99  # exit status of tests that pass, and of tests that met another copy of the library
HEAD = "| module | mutants | tried | killed | equivalent | survivors |"


@dataclass
class Test:
    """A test as it ran unchanged: seconds, and the lines it reached in each module."""

    seconds: float = 0.0
    lines: dict[str, set[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """A mutant, how many tests reach it, and whether one of them failed."""

    mutant: Mutant
    n_tests: int
    killed: bool


class Recorder:
    """A pytest plugin that records what each test reaches in `modules`, and how long it takes."""

    def __init__(self, root: Path, modules: list[str]):
        self.modules = {str(root / module): module for module in modules}
        self.tests: dict[str, Test] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        test = self.tests[item.nodeid] = Test()

        def reached(frame, event, _):
            module = self.modules.get(frame.f_code.co_filename)
            if module is None:
                return None
            lines = test.lines.setdefault(module, set())

            def line(frame, event, _):
                lines.add(frame.f_lineno)
                return line

            return line(frame, event, None)

        started = time.perf_counter()
        sys.settrace(reached)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            test.seconds = time.perf_counter() - started


class Chosen:
    """A pytest plugin that keeps the tests of the given names, in their order."""

    def __init__(self, names: list[str]):
        self.place = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted(
            (item for item in items if item.nodeid in self.place), key=lambda item: self.place[item.nodeid]
        )


def room_of(module: str) -> str:
    """The folder of the tests that mirrors a module's."""
    return str(Path("tests", *Path(module).parts[1:-1]))


def start(work: Callable[[], int], output: Path) -> int:
    """Start `work` in a process group of its own, writing to `output`; gives its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = work()
    finally:
        os._exit(status)


def tests(copy: Path, arguments: list[str], plugin: object) -> int:
    """Run pytest in the copy at `copy` of the tree; gives its exit status."""
    os.chdir(copy)
    here = {"", ".", str(Path(__file__).resolve().parent.parent)}
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in here)]
    os.environ["PYTHONPATH"] = str(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments], plugins=[plugin])
    library = sys.modules.get("prorl")
    if library is not None and not Path(library.__path__[0]).is_relative_to(copy):
        return FOREIGN
    return int(status)


def warm(root: Path) -> None:
    """Import the packages that the library imports, once for all runs, as the tests' conftest.py would."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = set()
    for path in (root / "prorl").rglob("*.py"):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    for name in sorted(names):
        if name.partition(".")[0] not in OWN:
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as nothing, contextlib.redirect_stdout(io.StringIO()):
        pytest.main([nothing, "-c", os.devnull])  # which imports pytest's own plugins


def recorded(copy: Path, room: str, modules: list[str]) -> dict[str, Test]:
    """The tests of `room` as they run unchanged. Raises `SystemExit` where one of them fails."""
    record, output = copy.parent / "record", copy.parent / "output"

    def work() -> int:
        recorder = Recorder(copy, modules)
        status = tests(copy, [room], recorder)
        record.write_bytes(pickle.dumps(recorder.tests))
        return status

    status = os.waitstatus_to_exitcode(os.waitpid(start(work, output), 0)[1])
    if status != PASSED:
        raise SystemExit(f"{room}: the tests fail without any change:\n{output.read_text()[-3000:]}")
    return pickle.loads(record.read_bytes())


def reaching(mutant: Mutant, recorded_tests: dict[str, Test]) -> list[str]:
    """The tests that `mutant` can change the result of, the quickest first."""
    names = [
        name
        for name, test in recorded_tests.items()
        if mutant.statement is None
        or any(
            mutant.statement[0] <= line <= mutant.statement[1] for line in test.lines.get(mutant.module, ())
        )
    ]
    return sorted(names, key=lambda name: recorded_tests[name].seconds)


def outcomes(
    mutants: list[Mutant], copies: list[Path], recorded_tests: dict[str, dict[str, Test]], end: float
) -> Iterator[Tried]:
    """Try `mutants`, one in each of `copies` at a time; none is begun after `end`, by the monotonic clock."""
    waiting, free, running = mutants[::-1], list(copies), {}
    while running or (waiting and time.monotonic() < end):
        while waiting and free and time.monotonic() < end:
            mutant = waiting.pop()
            of_room = recorded_tests[room_of(mutant.module)]
            names = reaching(mutant, of_room)
            if not names:
                yield Tried(mutant, 0, killed=False)
                continue
            copy = free.pop()
            path = copy / mutant.module
            source = path.read_bytes()
            path.write_bytes(mutant.of(source))
            # without its compiled form, which is told from a new source by whole seconds and size alone
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
            limit = time.monotonic() + 20 + 5 * sum(of_room[name].seconds for name in names)
            pid = start(_changed(copy, names), copy.parent / "output")
            running[pid] = (mutant, copy, source, len(names), limit)
        time.sleep(0.02)
        for pid, (mutant, copy, source, n_tests, limit) in list(running.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found and time.monotonic() < limit:
                continue
            with contextlib.suppress(ProcessLookupError):  # where the tests have left nothing behind
                os.killpg(pid, signal.SIGKILL)  # what they have started, and they themselves if too slow
            if not found:
                _, status = os.waitpid(pid, 0)
            (copy / mutant.module).write_bytes(source)
            del running[pid]
            free.append(copy)
            if os.waitstatus_to_exitcode(status) == FOREIGN:
                raise SystemExit(
                    f"{mutant.module}: the tests import prorl from elsewhere than the copy in {copy}"
                )
            yield Tried(mutant, n_tests, killed=os.waitstatus_to_exitcode(status) != PASSED)


def _changed(copy: Path, names: list[str]) -> Callable[[], int]:
    def work() -> int:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return tests(copy, sorted({name.partition("::")[0] for name in names}), Chosen(names))

    return work


def known_equivalents(root: Path) -> list[dict[str, str]]:
    """The entries of `EQUIVALENT`: module, line, reason, and mutant where not all of the line are meant."""
    path = root / EQUIVALENT
    return tomllib.loads(path.read_text()).get("equivalent", []) if path.exists() else []


def is_meant(mutant: Mutant, entry: dict[str, str]) -> bool:
    """Whether an entry of `EQUIVALENT` is of `mutant`."""
    return (mutant.module, mutant.before) == (entry["module"], entry["line"]) and mutant.after == entry.get(
        "mutant", mutant.after
    )


def with_rows(page: str, rows: dict[str, tuple[int, ...]]) -> str:
    """`page` with its table's rows of modules replaced, or added, by `rows`."""
    table = dict(re.findall(r"^\| `(prorl/\S+)` \| (.+) \|$", page, re.MULTILINE))
    table |= {module: " | ".join(map(str, numbers)) for module, numbers in rows.items()}
    lines = [f"| `{module}` | {numbers} |" for module, numbers in sorted(table.items())]
    total = [sum(column) for column in zip(*(map(int, n.split(" | ")) for n in table.values()), strict=True)]
    lines += [f"| all | {' | '.join(map(str, total))} |"]
    before, _, behind = page.partition(HEAD)
    behind = re.sub(r"\A(\n\|.*)*", "", behind)
    return before + "\n".join([HEAD, "|---|" + "---:|" * 5, *lines]) + behind


def main(arguments: list[str]) -> int:
    """Try mutants; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="mutants", description="Find changes of the code that no test notices."
    )
    parser.add_argument("--modules", nargs="+", default=HEART, metavar="GLOB", help="default: the heart")
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants of each module; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--list", action="store_true", help="name the mutants, try none")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="mutants tried at a time; default: as many as cores",
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no mutant after so long")
    parser.add_argument(
        "--score", type=Path, metavar="FILE", help="write the score into the table of this page"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parent.parent, help="of the tree"
    )
    options = parser.parse_args(arguments)
    end, root = time.monotonic() + 60 * options.minutes, options.root.resolve()
    modules = sorted({str(p.relative_to(root)) for pattern in options.modules for p in root.glob(pattern)})
    found = {module: mutants_of(module, (root / module).read_bytes()) for module in modules}
    found = {module: mutants for module, mutants in found.items() if mutants}
    entries = [entry for entry in known_equivalents(root) if entry["module"] in modules]
    equivalent = {m for mutants in found.values() for m in mutants if any(is_meant(m, e) for e in entries)}
    chosen = []
    for module, mutants in found.items():
        rest = [mutant for mutant in mutants if mutant not in equivalent]
        n = len(rest) if options.sample is None else min(len(rest), options.sample)
        places = random.Random(f"{options.seed}/{module}").sample(range(len(rest)), n)
        chosen += [rest[place] for place in sorted(places)]
    if options.list:
        for mutant in chosen:
            print(_described(mutant))
        return 0
    tried = _tried(root, chosen, options.jobs, end)
    survivors = [one for one in tried if not one.killed]
    for one in survivors:
        print(f"{_described(one.mutant)}\n    survives {one.n_tests} tests that reach it")
    idle = [e for e in entries if not any(is_meant(m, e) for m in found[e["module"]])]
    for entry in idle:
        print(f"{EQUIVALENT}: {entry['module']}: no mutant is as described: {entry['line']}")
    rows = {
        module: (
            len(mutants),
            sum(one.mutant.module == module for one in tried),
            sum(one.mutant.module == module and one.killed for one in tried),
            sum(mutant in equivalent for mutant in mutants),
            sum(one.mutant.module == module for one in survivors),
        )
        for module, mutants in found.items()
    }
    print(with_rows(HEAD, rows))
    if options.score:
        options.score.write_text(with_rows(options.score.read_text(), rows))
    return 1 if survivors or idle else 0


def _tried(root: Path, chosen: list[Mutant], n_jobs: int, end: float) -> list[Tried]:
    """The outcomes of `chosen`, in copies of the tree that are gone afterwards."""
    if not chosen:
        return []
    warm(root)
    left_out = shutil.ignore_patterns(".*", "data", "models", "reports", "__pycache__", "*.partial")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder).resolve() / str(job) / "tree" for job in range(n_jobs)]
        shutil.copytree(root, copies[0], ignore=left_out)
        rooms = {}
        for room in sorted({room_of(mutant.module) for mutant in chosen}):
            modules = sorted({mutant.module for mutant in chosen if room_of(mutant.module) == room})
            rooms[room] = recorded(copies[0], room, modules)
        for copy in copies[1:]:
            shutil.copytree(copies[0], copy)
        steps = progress(
            outcomes(chosen, copies, rooms, end),
            description="mutants", unit="mutant", every_seconds=15, total=len(chosen),
        )  # fmt: skip
        return list(steps)


def _described(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line}\n    {mutant.before}\n    {mutant.after}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
