"""The stages prepare and mine by the local engine and on Apache Spark, side by side, on one synthetic log.

    python -m benchmarks.prepare_spark                             # 3 million interactions
    python -m benchmarks.prepare_spark --interactions 30000000 --memory 2g

The log and its settings are those of `prepare_scale`. Spark runs as `local[2]` with `--memory` for its JVM
and more partitions than its two workers hold at once. Rows are compared: the run fails if any differs. Memory
of a worker is the most that any Python worker, or the JVM, was seen to hold, asked five times a second.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from benchmarks.harness import ROOT, command_line, prepare, publish
from benchmarks.prepare_scale import DATASET, write_log, write_params
from prorl.files import read_json
from prorl.layout import Layout
from prorl.tables import INSTANCES, INTERACTIONS, PROMPTED_INSTANCES, SPLITS, USER_SPLITS, read_table

TITLE = "Preparing and mining on Spark"
STAGES = ("prepare", "mine")


def with_spark(path: Path, memory: str, partitions: int) -> None:
    """Set both engines of the params at `path` to Spark."""
    yaml = YAML(typ="safe")
    params = yaml.load(path)
    spark = {"master": "local[2]", "executor_memory": memory, "partitions": partitions, "conf": {}}
    params["prepare"][DATASET] |= {"engine": "spark", "spark": spark}
    params["mine"][DATASET] = {"engine": "spark"}
    with open(path, "w") as stream:
        yaml.dump(params, stream)


def run_stage(stage: str, folder: Path) -> dict[str, float]:
    """Seconds of one stage, and the most GiB that each kind of its processes had: the stage itself, a JVM, a
    Python worker.
    """
    peaks = {"stage": 0.0, "jvm": 0.0, "worker": 0.0}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, ROOT / "stages" / f"{stage}.py", DATASET], cwd=folder, env=environment
    )
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.2):
            for kind, held in _held(process.pid):
                peaks[kind] = max(peaks[kind], held / 2**30)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    status = process.wait()
    done.set()
    sampler.join()
    if status:
        sys.exit(f"{stage} failed")
    return {"seconds": time.perf_counter() - started, **peaks}


def _held(pid: int) -> list[tuple[str, int]]:
    """Bytes of a stage and of each process it started, by kind; of those that end meanwhile, none."""
    found = []
    try:
        stage = psutil.Process(pid)
        for process in [stage, *stage.children(recursive=True)]:
            try:
                name = process.name()
                kind = "stage" if process.pid == pid else "jvm" if "java" in name else "worker"
                found.append((kind, process.memory_info().rss))
            except psutil.NoSuchProcess:  # it ended between being listed and being asked
                continue
    except psutil.NoSuchProcess:  # so did the stage
        return []
    return found


def tables(folder: Path) -> dict[str, Any]:
    """All tables and counts that the stages wrote in `folder`."""
    layout = Layout(DATASET)
    paths = {"interactions": (layout.interactions, INTERACTIONS), "splits": (layout.splits, USER_SPLITS)}
    for split in SPLITS:
        paths[split] = (layout.instances(split), INSTANCES if split == "train" else PROMPTED_INSTANCES)
    counts = {stage: read_json(folder / layout.metrics(stage)) for stage in STAGES}
    return counts | {name: read_table(folder / path, schema) for name, (path, schema) in paths.items()}


def main() -> None:
    """Two lines per size."""
    parser = command_line(TITLE)
    parser.add_argument("--interactions", type=int, nargs="+", default=[3_000_000])
    parser.add_argument("--memory", default="1g", help="of Spark's JVM")
    parser.add_argument("--partitions", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="where the log goes; a temporary folder otherwise")
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    lines = [
        "| interactions | engine | parts | prepare | mine | stage process | largest Python worker | JVM |",
        "|---" * 8 + "|",
    ]
    print("\n".join(lines))
    for size in [20_000] if options.quick else arguments.interactions:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            folder, results = Path(temporary), []
            write_log(folder / "archive", size)
            write_params(folder / "params.yaml", folder / "archive")
            subprocess.run(
                [sys.executable, ROOT / "stages/fetch.py", DATASET],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=True,
            )
            for engine in ("local", "spark"):
                if engine == "spark":
                    with_spark(folder / "params.yaml", arguments.memory, arguments.partitions)
                measured = [run_stage(stage, folder) for stage in STAGES]
                results.append(tables(folder))
                most = {kind: max(one[kind] for one in measured) for kind in ("stage", "worker", "jvm")}
                parts = arguments.partitions if engine == "spark" else 1
                seconds = " | ".join(f"{one['seconds']:.0f} s" for one in measured)
                memory = " | ".join(f"{held:.2f} GiB" if held else "-" for held in most.values())
                lines.append(f"| {size:,} | {engine} | {parts} | {seconds} | {memory} |")
                print(lines[-1], flush=True)
            differing = [name for name, table in results[0].items() if table != results[1][name]]
            if differing:
                sys.exit(f"local and Spark differ in {differing}")
    publish(TITLE, lines, options)


if __name__ == "__main__":
    main()
