"""Mutants tried: the tests that reach each are run in a copy of the tree in which it has been made.

A process imports what the library needs once, and forks for every run of the tests: starting Python and
importing PyTorch would take longer than most tests.
"""

import ast
import contextlib
import importlib
import importlib.util
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prorl.runtime import progress
from tools.mutation import Mutant

OWN = ("prorl", "tests", "stages", "benchmarks")  # packages of the tree
UNSETTLED = ("recbole",)  # importing it changes PyTorch's settings, which the library then puts back
PASSED, FOREIGN = 0, 99  # exit status of tests that pass, and of tests that met another copy of the library


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
    except Exception:
        traceback.print_exc()
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
        if name.partition(".")[0] not in (*OWN, *UNSETTLED):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as nothing, contextlib.redirect_stdout(io.StringIO()):
        pytest.main([nothing, "-c", os.devnull])  # which imports pytest's own plugins


def recorded(copy: Path, paths: tuple[str, ...], modules: list[str]) -> dict[str, Test]:
    """The tests in `paths` as they run unchanged. Raises `SystemExit` where one of them fails."""
    record, output = copy.parent / "record", copy.parent / "output"

    def work() -> int:
        recorder = Recorder(copy, modules)
        status = tests(copy, [*paths], recorder)
        as_json = {
            name: [test.seconds, {module: sorted(lines) for module, lines in test.lines.items()}]
            for name, test in recorder.tests.items()
        }
        record.write_text(json.dumps(as_json))
        return status

    status = os.waitstatus_to_exitcode(os.waitpid(start(work, output), 0)[1])
    if status != PASSED:
        raise SystemExit(
            f"{', '.join(paths)}: the tests fail without any change:\n{output.read_text()[-3000:]}"
        )
    found = json.loads(record.read_text())
    return {
        name: Test(seconds, {module: set(own) for module, own in lines.items()})
        for name, (seconds, lines) in found.items()
    }


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
    mutants: list[Mutant], copies: list[Path], tests_of: dict[str, dict[str, Test]], end: float
) -> Iterator[Tried]:
    """Try `mutants` with the tests of each module, one in each of `copies` at a time; none is begun after
    `end`, by the monotonic clock.
    """
    waiting, free, running = mutants[::-1], list(copies), {}
    try:
        while running or (waiting and time.monotonic() < end):
            while waiting and free and time.monotonic() < end:
                mutant = waiting.pop()
                own = tests_of[mutant.module]
                names = reaching(mutant, own)
                if not names:
                    yield Tried(mutant, 0, killed=False)
                    continue
                copy = free.pop()
                path = copy / mutant.module
                source = path.read_bytes()
                path.write_bytes(mutant.of(source))
                # without its compiled form, which is told from a new source by whole seconds and size alone
                Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
                limit = time.monotonic() + 20 + 5 * sum(own[name].seconds for name in names)
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
    finally:
        for pid in running:  # where the caller gives up
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _changed(copy: Path, names: list[str]) -> Callable[[], int]:
    def work() -> int:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return tests(copy, sorted({name.partition("::")[0] for name in names}), Chosen(names))

    return work


def tried(
    root: Path, chosen: list[Mutant], own_tests: list[str] | None, n_jobs: int, minutes: float
) -> Iterator[Tried]:
    """The outcomes of `chosen`, begun within `minutes`, in copies of the tree that are gone afterwards.

    The tests are `own_tests`, or where that is None those of each module's room.
    """
    if not chosen:
        return
    warm(root)
    everywhere = shutil.ignore_patterns(".*", "__pycache__", "*.partial")

    def left_out(place: str, names: list[str]) -> set[str]:
        results = {"data", "models", "reports"} if Path(place) == root else set()
        return everywhere(place, names) | (results & set(names))

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder).resolve() / str(job) / "tree" for job in range(n_jobs)]
        shutil.copytree(root, copies[0], ignore=left_out)
        tests_of: dict[str, dict[str, Test]] = {}
        for room in sorted({room_of(mutant.module) for mutant in chosen}):
            modules = sorted({mutant.module for mutant in chosen if room_of(mutant.module) == room})
            found = recorded(copies[0], tuple(own_tests or [room]), modules)
            tests_of |= dict.fromkeys(modules, found)
        for copy in copies[1:]:
            shutil.copytree(copies[0], copy)
        steps = outcomes(chosen, copies, tests_of, time.monotonic() + 60 * minutes)
        yield from progress(steps, description="mutants", unit="mutant", every_seconds=15, total=len(chosen))
