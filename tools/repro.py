"""`dvc repro`, told beforehand how long it takes, and at each stage what remains: `python -m tools.repro`.

What is told are guesses, see `tools.expected`; the run does not depend on them.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.expected import Expected, duration, expected, keep_speed, records

STARTS = re.compile(r"Running stage '(.+)':")
LEFT_OUT = re.compile(r"Stage '(.+)' (?:didn't change|is cached)")


def main() -> int:
    """Run `dvc repro`; gives its exit status."""
    root = Path.cwd()
    plan, here, before = None, None, {}
    try:
        plan, here = expected(root)
        before = records(root, [path.parent.name for path in root.glob("reports/*/runtime.json")])
        print("\n".join(plan.lines), flush=True)
    except Exception as error:  # whatever is wrong with files: DVC says what keeps a run from starting
        print(f"expected: not known: {type(error).__name__}: {error}", flush=True)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}  # lines come as they are written
    with subprocess.Popen(
        ["dvc", "repro"], stdout=subprocess.PIPE, text=True, errors="replace", env=environment
    ) as run:
        signal.signal(signal.SIGTERM, lambda number, frame: run.send_signal(number))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to DVC too, which ends
        assert run.stdout is not None
        for line in with_remaining(run.stdout, plan):
            print(line, end="", flush=True)
    if here is not None:
        keep_speed(root, before, here)
    return run.returncode if run.returncode >= 0 else 128 - run.returncode


def with_remaining(lines: Iterable[str], plan: Expected | None) -> Iterator[str]:
    """The `lines` of DVC, and behind each stage that starts what is expected to remain by `plan`, which
    shrinks as stages end or are left out.
    """
    pending = dict(plan.seconds) if plan is not None else {}
    under_way = ""
    for line in lines:
        yield line
        starts, left_out = STARTS.match(line), LEFT_OUT.match(line)
        if starts is None and left_out is None:
            continue
        pending.pop(under_way, None)
        under_way = starts[1] if starts else ""
        if left_out:
            pending.pop(left_out[1], None)
        own = pending.get(under_way)
        if own is not None:
            known = [seconds for seconds in pending.values() if seconds is not None]
            more = " and what is not on record" if len(known) < len(pending) else ""
            yield f"expected: {duration(own)} for this stage, about {duration(sum(known))} in all{more}\n"


if __name__ == "__main__":
    sys.exit(main())
