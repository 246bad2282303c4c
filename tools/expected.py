"""What a run of the pipeline takes, told before it starts: what its stages took when they last ran, here or
where `RECORDED` was written, by the speed of this machine.

Speed is that of one CPU: `round_seconds` of a fixed piece of arithmetic, which `tools.repro` keeps beside a
stage's seconds. Stages whose results DVC has in its cache count as if they ran. It is a guess: what else the
machine does is not counted, nor how many CPUs help, nor a changed setting that makes a stage longer.

`python -m tools.expected --record` writes `RECORDED` from the last run here, for clones without one.
"""

import hashlib
import itertools
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from threadpoolctl import threadpool_limits

from prorl.files import read_json, write_json
from prorl.layout import Layout

RECORDED = Path("benchmarks/results/stage-times.json")
ROUND = "round_seconds"
MEASURED_FOR = 0.8  # seconds
WIDTH, DEPTH = 512, 4  # of the matrices of a round, and how many are multiplied


def round_seconds() -> float:
    """The time that one CPU is at work on a round of matrix products and exponentials: the fastest of those
    that fit in `MEASURED_FOR`, which other work on the machine changes little.
    """
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5 for _ in range(DEPTH)]
    end, found = time.perf_counter() + MEASURED_FOR, []
    with threadpool_limits(1):
        while not found or time.perf_counter() < end:
            started, x = time.thread_time(), matrices[0]
            for matrix in matrices:
                x = np.exp(-np.abs(x @ matrix))
            found.append(time.thread_time() - started)
    return min(found)


@dataclass(frozen=True)
class Stage:
    """A stage for one combination of its axes, as dvc.yaml has it: what it reads, writes and is told."""

    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]
    command: str
    always: bool


def stages_of(document: dict[str, Any], params: dict[str, Any]) -> dict[str, Stage]:
    """The stages of dvc.yaml by label, `stage@data set-axis`, under the values `params`."""
    found = {}
    for name, stage in document["stages"].items():
        axes = {axis: _value(values[2:-1], params) for axis, values in stage["matrix"].items()}
        for chosen in itertools.product(*axes.values()):
            values = params | {"item": dict(zip(axes, chosen, strict=True))}

            def resolved(texts: Iterable[Any], values: dict[str, Any] = values) -> tuple[str, ...]:
                names = (next(iter(text)) if isinstance(text, dict) else text for text in texts)
                return tuple(
                    re.sub(r"\$\{(.*?)\}", lambda found: str(_value(found[1], values)), name)
                    for name in names
                )

            outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
            found[f"{name}@{'-'.join(chosen)}"] = Stage(
                resolved(stage["deps"]),
                resolved(outs),
                resolved(stage.get("params", [])),
                resolved([stage["cmd"]])[0],
                bool(stage.get("always_changed")),
            )
    return found


def _value(key: str, values: dict[str, Any]) -> Any:
    """The value of the dotted `key`, None where there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def waiting(root: Path, stages: dict[str, Stage], lock: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """The labels of `stages` that have something to do, by dvc.lock: those that have changed, or whose
    outputs are gone, and all that come after them; without those that always run.
    """
    digests: dict[str, str | None] = {}

    def unchanged(label: str, stage: Stage) -> bool:
        known = lock.get(label)
        if known is None or known["cmd"] != stage.command:
            return False
        told = known.get("params", {}).get("params.yaml", {})
        recorded = {dep["path"]: dep.get("md5", "") for dep in known.get("deps", [])}
        for path in recorded:
            if path not in digests:
                file = root / path
                digests[path] = hashlib.md5(file.read_bytes()).hexdigest() if file.is_file() else None
        # A folder has changed where the stage that writes it runs.
        same = (digests[path] == md5 or md5.endswith(".dir") for path, md5 in recorded.items())
        return (
            recorded.keys() == set(stage.deps)
            and all(key in told and told[key] == _value(key, params) for key in stage.params)
            and all((root / out).exists() for out in stage.outs)
            and all(same)
        )

    found = {label for label, stage in stages.items() if not stage.always and not unchanged(label, stage)}
    grown = True
    while grown:
        written = [out for label in found for out in stages[label].outs]
        after = {
            label
            for label, stage in stages.items()
            if not stage.always and any(_overlap(dep, out) for dep in stage.deps for out in written)
        }
        grown = not after <= found
        found |= after
    return [label for label in stages if label in found]


def _overlap(dep: str, out: str) -> bool:
    """Whether one of two paths is the other, or lies in it."""
    return f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")


@dataclass(frozen=True)
class Expected:
    """What is waiting, with the seconds that each stage is expected to take here, None where it never ran.

    Of where the longest of them was measured: `cpus`, its CPUs, and `speed`, how many times as fast one here
    is; None where it is not on record.
    """

    seconds: dict[str, float | None]
    cpus: int | None = None
    speed: float | None = None

    @classmethod
    def of(cls, labels: list[str], records: dict[str, Any], here: float | None) -> "Expected":
        """For the stages `labels`, by `records` {label: {seconds, cpus, round_seconds}} and the time of a
        round `here`; what was recorded without that is taken as it is.
        """
        found, factors = dict[str, float | None](), dict[str, float]()
        for label in labels:
            own = records.get(label)
            if own is None:
                found[label] = None
                continue
            factors[label] = here / own[ROUND] if here and own.get(ROUND) else 1.0
            found[label] = own["seconds"] * factors[label]
        if not factors:
            return cls(found)
        longest = max(factors, key=lambda label: records[label]["seconds"])
        known = here and records[longest].get(ROUND)
        return cls(found, records[longest].get("cpus"), 1 / factors[longest] if known else None)

    @property
    def lines(self) -> list[str]:
        """What is said before the first stage."""
        if not self.seconds:
            return ["expected: no stage has changed"]
        unknown = [label for label, seconds in self.seconds.items() if seconds is None]
        by_stage: dict[str, float] = defaultdict(float)
        for label, seconds in self.seconds.items():
            if seconds is not None:
                by_stage[label.partition("@")[0]] += seconds
        found = []
        if by_stage:
            order = sorted(by_stage.items(), key=lambda part: -part[1])
            parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in order)
            found.append(f"expected: about {duration(sum(by_stage.values()))}: {parts}")
            told = f"is {self.speed:.2g} times as fast" if self.speed else "is taken to be as fast"
            here = f"one of the {os.cpu_count()} here {told}"
            found.append(f"expected: by the last run on record, on {self.cpus or 'some'} CPUs; {here}")
        if unknown:
            found.append(f"expected: no time is on record of {', '.join(unknown)}")
        return found


def duration(seconds: float) -> str:
    """`seconds` in words of two digits or so."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def records(root: Path, datasets: Iterable[str]) -> dict[str, Any]:
    """What is on record of stages by label: of the last run here, else in `RECORDED`."""
    found = read_json(root / RECORDED) if (root / RECORDED).exists() else {}
    for dataset in datasets:
        path = root / Layout(dataset).runtime
        own = read_json(path) if path.exists() else {}
        found |= {label: record for label, record in own.items() if "@" in label}
    return found


def expected(root: Path) -> tuple[Expected, float | None]:
    """What a run of the pipeline in `root` is expected to take, and the time of a round if anything waits."""
    yaml = YAML(typ="safe")
    document, params = yaml.load(root / "dvc.yaml"), yaml.load(root / "params.yaml")
    lock = yaml.load(root / "dvc.lock")["stages"] if (root / "dvc.lock").exists() else {}
    labels = waiting(root, stages_of(document, params), lock, params)
    here = round_seconds() if labels else None
    return Expected.of(labels, records(root, params["datasets"]), here), here


def keep_speed(root: Path, before: dict[str, Any], here: float) -> None:
    """Put `here`, the time of a round, beside the seconds of all stages that have run since `before`."""
    for path in sorted(root.glob(f"{Layout('*').runtime}")):
        runtime = read_json(path)
        ran = [label for label in runtime if "@" in label and runtime[label] != before.get(label)]
        for label in ran:
            runtime[label][ROUND] = round(here, 5)
        if ran:
            write_json(path, runtime)


def main(arguments: list[str]) -> int:
    """Print what is expected, or write `RECORDED`; the exit status."""
    root = Path.cwd()
    if arguments not in ([], ["--record"]):
        print("usage: python -m tools.expected [--record]", file=sys.stderr)
        return 2
    if not arguments:
        print("\n".join(expected(root)[0].lines))
        return 0
    here, found = round_seconds(), records(root, YAML(typ="safe").load(root / "params.yaml")["datasets"])
    kept = {  # what ran without a measured speed ran at this one
        label: {"seconds": own["seconds"], "cpus": own["cpus"], ROUND: own.get(ROUND, round(here, 5))}
        for label, own in sorted(found.items())
    }
    write_json(root / RECORDED, kept)
    print(f"{RECORDED}: {len(kept)} stages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
