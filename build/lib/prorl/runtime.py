"""What a stage needs from the process it runs in: arguments and errors, seeds, memory settings, progress, and
time and memory used.
"""

import ctypes
import hashlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prorl.config.section import ConfigError
from prorl.errors import DataError, TrainingError
from prorl.files import read_json, write_json
from prorl.layout import Layout
from prorl.params import read_params


def run_stage(name: str, body: Callable[..., None], arguments: tuple[str, ...] = ("dataset",)) -> None:
    """Run `body(params, *arguments)` with the command line's arguments as stage `name`.

    A `ConfigError`, `DataError` or `TrainingError` ends the process with one line on standard error and exit
    status 1. Seconds and peak memory go into `reports/<dataset>/runtime.json`, which git ignores.
    """
    if len(sys.argv) != len(arguments) + 1:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {' '.join(f'<{a}>' for a in arguments)}")
    values = sys.argv[1:]
    label = f"{name}@{'-'.join(values)}"
    keep_freed_memory()
    started = time.perf_counter()
    try:
        params = read_params()
        if values[0] not in params.datasets:
            raise ConfigError(
                f"{params.source}: data set {values[0]!r} is not in `datasets`, which holds {params.datasets}"
            )
        body(params, *values)
    except (ConfigError, DataError, TrainingError) as error:
        sys.exit(f"{label}: {error}")
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
