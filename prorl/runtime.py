"""What a stage needs from the process it runs in: arguments and errors, seeds, memory settings, progress, and
time and memory used.
"""

import ctypes
import errno
import hashlib
import os
import platform
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from safetensors import SafetensorError
from tqdm import tqdm

from prorl.config.section import ConfigError, one_line
from prorl.errors import DataError, TrainingError
from prorl.files import read_json, remove_unfinished, write_json
from prorl.layout import WRITTEN, Layout
from prorl.params import read_params

GRACE = 8.0  # seconds after SIGTERM in which a step may end; whoever sends it often kills after 10
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # a disk that takes no more, or no more of one file or user


NUMPY_CUT_SHORT = re.compile(r"[0-9]+ requested and [0-9]+ written")  # all that NumPy says of it


class Termination:
    """A block in which SIGTERM ends the process at a place of the block's own choice.

    `asked` says whether it has come; `told` what is said where `GRACE` is over before the block has chosen.
    Without `enabled`, and outside the main thread, SIGTERM does what it did before.
    """

    def __init__(self, *, enabled: bool = True):
        self.asked, self.told = False, ""
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._before: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Self:
        if self._enabled:
            for number, handler in ((signal.SIGTERM, self._come), (signal.SIGALRM, self._over)):
                self._before.append((number, signal.signal(number, handler)))
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()
        for number, handler in self._before:
            signal.signal(number, handler)

    def disarm(self) -> None:
        """End no more by itself."""
        if self._enabled and self.asked:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def leave(self, label: str, told: str) -> NoReturn:
        """End the process with one line, and the exit status of SIGTERM."""
        print(f"{label}: SIGTERM: {told}", file=sys.stderr, flush=True)
        raise SystemExit(128 + signal.SIGTERM)

    def _come(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _over(self, number: int, frame: FrameType | None) -> None:
        self.leave(Path(sys.argv[0]).stem, self.told)


def _terminated(number: int, frame: FrameType | None) -> None:
    """End as after an error, so that unfinished files are removed and finished parts are kept."""
    print(f"{Path(sys.argv[0]).stem}: SIGTERM: run again to go on", file=sys.stderr, flush=True)
    raise SystemExit(128 + number)


def disk_is_full(error: Exception) -> bool:
    """Whether `error`, of Python or of safetensors, says that a file could not grow."""
    told = str(error)
    if NUMPY_CUT_SHORT.fullmatch(told):
        return True
    return getattr(error, "errno", None) in FULL or any(
        os.strerror(number) in told or f"(os error {number})" in told for number in FULL
    )


def run_stage(name: str, body: Callable[..., None], arguments: tuple[str, ...] = ("dataset",)) -> None:
    """Run `body(params, *arguments)` with the command line's arguments as stage `name`.

    A `ConfigError`, `DataError` or `TrainingError`, and a disk that is full, end the process with one line on
    standard error and exit status 1. What killed writers have left unfinished is removed first. Seconds and
    peak memory go into `reports/<dataset>/runtime.json`, which git ignores.
    """
    if len(sys.argv) != len(arguments) + 1:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {' '.join(f'<{a}>' for a in arguments)}")
    values = sys.argv[1:]
    label = f"{name}@{'-'.join(values)}"
    keep_freed_memory()
    started = time.perf_counter()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        params = read_params()
        if values[0] not in params.datasets:
            raise ConfigError(
                f"{params.source}: data set {values[0]!r} is not in `datasets`, which holds {params.datasets}"
            )
        if int(os.environ.get("RANK", 0)) == 0:
            remove_unfinished(WRITTEN)
        body(params, *values)
    except (ConfigError, DataError, TrainingError) as error:
        sys.exit(f"{label}: {error}")
    except (OSError, SafetensorError) as error:
        if not disk_is_full(error):
            raise
        where = f" in {Path.cwd()}" if getattr(error, "filename", None) is None else ""
        sys.exit(f"{label}: no space left{where}: {one_line(error)}; free some and run again to go on")
    if int(os.environ.get("RANK", 0)) == 0:
        _record_runtime(Layout(values[0]).runtime, label, time.perf_counter() - started)


def _record_runtime(path: Path, label: str, seconds: float) -> None:
    runtime = read_json(path) if path.exists() else {}
    runtime[label] = {
        "seconds": round(seconds, 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "host": platform.node(),
        "cpus": os.cpu_count(),
    }
    write_json(path, runtime)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of returning every large tensor to the kernel.

    Mapping and unmapping large tensors costs PyTorch on the CPU about half its time. Other C libraries are
    left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the parameters' numbers in glibc's malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 64 * 2**20)


def derived_seed(seed: int, *purpose: Any) -> int:
    """A seed in 0..2^31-1 for one purpose (a stage, an epoch, a step), independent of any other's."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def progress(
    steps: Iterable,
    *,
    description: str,
    unit: str,
    every_seconds: float,
    total: int | None = None,
    initial: int = 0,
) -> tqdm:
    """Iterate over `steps` with a bar showing the rate; where standard error is no terminal, print a line
    every `every_seconds` instead.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        steps,
        desc=description,
        unit=unit,
        total=total,
        initial=initial,
        mininterval=0.2 if interactive else every_seconds,
        maxinterval=every_seconds,
        file=sys.stderr if interactive else _Lines(),
        ascii=not interactive,
        ncols=100,
        disable=int(os.environ.get("RANK", 0)) != 0,
    )


class _Lines:
    """A stream that turns the carriage returns of a progress bar into lines."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()
