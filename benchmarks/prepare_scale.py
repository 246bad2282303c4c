"""Time and memory of the stages prepare and mine on synthetic logs with a long tail, against their bounds.

    python -m benchmarks.prepare_scale                          # 3 and 30 million interactions
    python -m benchmarks.prepare_scale --interactions 300000

The first takes about 3 GB of disk and 5 minutes. A log of `e` interactions has e / 12 users and e / 30
items, roughly as the books of Amazon have. The column `walk` is the time of the obvious mining, which walks
through every user item by item and does not write its instances.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from benchmarks.harness import ROOT, command_line, prepare, publish
from prorl.config.sections import SECTIONS
from prorl.files import read_json
from prorl.paths.sequences import user_sequences
from prorl.tables import INTERACTIONS, ITEMS, read_table

TITLE = "Preparing and mining large logs"
DATASET = "synthetic"
CHUNK = 5_000_000
N_CATEGORIES = 2000
MAX_SECONDS, MAX_GIB = 300, 12


def write_log(folder: Path, n_interactions: int) -> None:
    """A log in random order and its items, as parquet with ids of text.

    Users and items follow power laws; so do categories.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    n_users, n_items = n_interactions // 12, n_interactions // 30
    schema = pa.schema([("user", pa.string()), ("item", pa.string()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(folder / "interactions.parquet", schema) as writer:
        for start in range(0, n_interactions, CHUNK):
            size = min(CHUNK, n_interactions - start)
            user = (n_users * generator.random(size) ** 2).astype(np.int64)
            item = (n_items * generator.random(size) ** 3).astype(np.int64)
            time_of = generator.integers(0, 500_000_000, size)
            writer.write_table(
                pa.table([_ids("A1REUF", user), _ids("B00", item), pa.array(time_of)], schema=schema)
            )
    per_item = generator.integers(0, 5, n_items)
    categories = pa.array([f"category {i}" for i in range(N_CATEGORIES)])
    drawn = (N_CATEGORIES * generator.random(per_item.sum()) ** 3).astype(np.int64)
    attributes = pa.ListArray.from_arrays(
        np.concatenate([[0], np.cumsum(per_item)]).astype(np.int32), categories.take(pa.array(drawn))
    )
    item = np.arange(n_items)
    pq.write_table(
        pa.table({"item": _ids("B00", item), "title": _ids("Item ", item), "attributes": attributes}),
        folder / "items.parquet",
    )


def _ids(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def write_params(path: Path, archive: Path) -> None:
    """The repository's settings, for the synthetic data set alone."""
    yaml = YAML(typ="safe")
    params = yaml.load(ROOT / "params.yaml")
    for name in [name for name, kind in SECTIONS.items() if kind.per_data_set]:
        for known in params["datasets"]:
            del params[name][known]
        params[name][DATASET] = {}
    params["datasets"] = [DATASET]
    params["fetch"][DATASET] = {"source": "tabular", "archive": str(archive)}
    params["prepare"][DATASET] = {
        "min_user_interactions": 5,
        "min_item_interactions": 5,
        "attributes": ["attributes"],
        "profile": ["{title}", "{attributes}"],
    }
    with open(path, "w") as stream:
        yaml.dump(params, stream)


def walk(folder: Path, history_length: int, max_run: int) -> int:
    """The number of instances, found the obvious way."""
    sequences = user_sequences(read_table(folder / "interactions.parquet", INTERACTIONS))
    sets = [set(), *map(set, read_table(folder / "items.parquet", ITEMS)["attributes"].to_pylist())]
    found = 0
    for user in range(1, len(sequences) + 1):
        items = sequences.of(user).tolist()
        length = 1
        for before, item in zip(items[history_length:], items[history_length + 1 :], strict=False):
            if sets[before] & sets[item]:
                length += 1
                continue
            found += 2 <= length <= max_run
            length = 1
    return found


def measure(folder: Path, n_interactions: int) -> dict[str, float]:
    """Run the stages on a log of that size.

    Returns their seconds, CPU seconds and peak GiB, the walk's seconds, and what was kept. CPU seconds
    hardly depend on other work on the machine, so they show how time grows with size.
    """
    write_log(folder / "archive", n_interactions)
    write_params(folder / "params.yaml", folder / "archive")
    processor = 0.0
    for stage in ("fetch", "prepare", "mine"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, ROOT / "stages" / f"{stage}.py", DATASET], cwd=folder, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if stage != "fetch":
            processor += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runtime = read_json(folder / "reports" / DATASET / "runtime.json")
    statistics = read_json(folder / "reports" / DATASET / "mine.json")
    started = time.perf_counter()
    found = walk(folder / "data/prepared" / DATASET, history_length=10, max_run=10)
    assert found == sum(statistics["instances"].values()), (found, statistics)
    stages = [runtime[f"{stage}@{DATASET}"] for stage in ("prepare", "mine")]
    return {
        "prepare": stages[0]["seconds"],
        "mine": stages[1]["seconds"],
        "processor": processor,
        "gib": max(stage["peak_memory_mib"] for stage in stages) / 1024,
        "walk": time.perf_counter() - started,
        "instances": found,
        **read_json(folder / "reports" / DATASET / "prepare.json")["kept"],
    }


def main() -> None:
    """One line per size."""
    parser = command_line(TITLE)
    parser.add_argument("--interactions", type=int, nargs="+", default=[3_000_000, 30_000_000])
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    lines = [
        "| interactions | kept | users | items | instances "
        "| prepare | mine | CPU, per million | peak memory | walk |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    kept_bounds = True
    for size in [10_000] if options.quick else arguments.interactions:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder), size)
        lines.append(
            f"| {size:,} | {row['interactions']:,} | {row['users']:,} | {row['items']:,} "
            f"| {row['instances']:,} | {row['prepare']:.1f} s | {row['mine']:.1f} s "
            f"| {row['processor'] / size * 1e6:.2f} s | {row['gib']:.1f} GiB | {row['walk']:.1f} s |"
        )
        print(lines[-1], flush=True)
        kept_bounds &= row["prepare"] + row["mine"] <= MAX_SECONDS and row["gib"] <= MAX_GIB
    publish(TITLE, lines, options)
    if not kept_bounds:
        sys.exit(f"more than {MAX_SECONDS} s or {MAX_GIB} GiB")


if __name__ == "__main__":
    main()
