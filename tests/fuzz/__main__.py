"""Fuzzes the readers, each for some seconds: `python -m tests.fuzz [--seconds 20] [TARGET ...]`.

What is found is kept in `.fuzz/<target>/<file>/`: the content that was refused wrongly. Put it into
`tests/fuzz/corpus/`, under the same names, with the fix. The exit status is 1 where anything was found.
"""

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

KEPT = Path(".fuzz")
STARTING = 300  # seconds that a target may take to start, be told off and stop


def fuzz(name: str, seconds: int, memory_mb: int, timeout: int) -> tuple[str, int]:
    """A line on what came of target `name`, and how many inputs it failed on."""
    with tempfile.TemporaryDirectory(prefix="prorl-fuzz-") as folder:
        root = Path(folder)
        command = [
            *(sys.executable, "-m", "tests.fuzz.driver", name, folder),
            *(f"-max_total_time={seconds}", f"-rss_limit_mb={memory_mb}", f"-timeout={timeout}"),
            *("-max_len=65536", "-print_final_stats=1"),
        ]
        started = time.monotonic()
        with (root / "told").open("w+") as told:
            try:
                rc = subprocess.run(command, stdout=told, stderr=told, timeout=seconds + STARTING).returncode
            except subprocess.TimeoutExpired:
                rc = "hung"
            told.seek(0)
            output = told.read()
        kept = [keep(name, path) for path in sorted(root.glob("found-*"))]
    tried, peak = (number_of(output, what) for what in ("number_of_executed_units", "peak_rss_mb"))
    line = f"{name:13} {tried:>8} inputs {time.monotonic() - started:5.0f} s {peak:>6} MiB"
    if rc == 0 and not kept:
        return f"{line}  nothing found", 0
    error = [part for part in output.splitlines() if part.strip()][-60:]
    return "\n".join([*error, f"{line}  exit {rc}, kept: {', '.join(map(str, kept)) or 'nothing'}"]), 1


def keep(name: str, found: Path) -> Path:
    """Put the content in the input `found` of target `name` where it stays."""
    data = found.read_bytes()
    with tempfile.TemporaryDirectory() as made:
        files = list(TARGETS[name](Path(made)).files)
    file = files[data[0] % len(files)] if data else files[0]
    path = KEPT / name / file / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[1:])
    return path


def number_of(output: str, what: str) -> str:
    """The last number that libFuzzer printed of `what`; `?` where it printed none."""
    return ([*re.findall(rf"stat::{what}:\s+(\d+)", output)] or ["?"])[-1]


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--memory", type=int, default=2048, help="MiB that a target may take")
    parser.add_argument("--timeout", type=int, default=20, help="seconds that one input may take")
    given = parser.parse_args()
    if unknown := [name for name in given.targets if name not in TARGETS]:
        parser.error(f"no target {unknown[0]!r}; there are: {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed; `make fuzz` installs it")
    found = 0
    for name in given.targets or TARGETS:
        line, failed = fuzz(name, given.seconds, given.memory, given.timeout)
        found += failed
        print(line, flush=True)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
