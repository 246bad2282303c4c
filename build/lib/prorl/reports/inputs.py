"""What the report is made of: the stages' metrics, their training curves, and the greedy path of every test
prompt.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from prorl.errors import DataError
from prorl.files import read_json
from prorl.layout import GUIDE_FILE, Layout
from prorl.metrics.registry import METRICS, headline
from prorl.tables import ITEMS, read_frame


def example_metrics() -> list[str]:
    """The metrics that stand beside an example: headline ones, under the simulator at hand."""
    return [name for name in headline() if METRICS[name].simulated]


def greedy_paths_schema() -> pa.Schema:
    """What is read of every prompt's result."""
    return pa.schema(
        [
            ("policy", pa.string()),
            ("simulator", pa.string()),
            ("prompt", pa.int64()),
            ("target", pa.int32()),
            ("path", pa.list_(pa.int32())),
            *((name, pa.float64()) for name in example_metrics()),
        ]
    )


@dataclass(frozen=True)
class Curve:
    """One training curve: `stage` (`simulator/SASRec`, `pretrain`, ..), `name` (`validation/loss`), steps and
    values.
    """

    stage: str
    name: str
    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class ReportInputs:
    """All of it, for one data set.

    `simulators` maps a simulator's name to its metrics, in the order of params.yaml, and `validated` to what
    it was found to be on held-out users; `titles` an item to its title; `guides` a guide of params.yaml to
    its guide.json.
    """

    dataset: str
    prepare: dict[str, Any]
    mine: dict[str, Any]
    quantize: dict[str, Any]
    simulators: dict[str, dict[str, Any]]
    pretrain: dict[str, Any]
    finetune: dict[str, Any]
    evaluation: dict[str, dict[str, Any]]
    validation: dict[str, dict[str, Any]]
    lengths: dict[str, dict[str, list[dict[str, Any]]]]
    comparison: dict[str, dict[str, dict[str, Any]]]
    frontier: dict[str, list[dict[str, Any]]]
    gate: dict[str, Any]
    validated: dict[str, dict[str, Any]]
    curves: list[Curve]
    greedy: pd.DataFrame
    titles: dict[int, str]
    guides: dict[str, dict[str, Any]]


def read_inputs(layout: Layout, simulators: list[str], guides: list[str]) -> ReportInputs:
    """Read what the stages of one data set wrote, the metrics of `simulators`, and what `guides` are.

    Raises `DataError` naming a file that is not as needed.
    """
    stages = (
        *("prepare", "mine", "quantize", "pretrain", "finetune"),
        *("evaluation", "validation", "lengths", "comparison", "frontier", "gate"),
    )
    described = read_frame(layout.items, ITEMS)
    return ReportInputs(
        dataset=layout.dataset,
        **{stage: read_json(layout.metrics(stage)) for stage in stages},
        simulators={name: read_json(layout.metrics(f"simulator/{name}")) for name in simulators},
        validated={name: read_json(layout.metrics(f"validate/{name}")) for name in simulators},
        curves=read_curves(layout.all_curves),
        greedy=read_frame(layout.per_prompt, greedy_paths_schema()),
        titles=dict(zip(described.item.tolist(), described.title.tolist(), strict=True)),
        guides={name: read_json(layout.guide(name) / GUIDE_FILE) for name in guides},
    )


def read_curves(folder: Path) -> list[Curve]:
    """Every curve below `folder`, a tab-separated file with a column `step` and one named after the file,
    sorted by stage and name.
    """
    curves = []
    for path in sorted(folder.rglob("*.tsv")):
        stage, _, name = path.relative_to(folder).with_suffix("").as_posix().partition("/plots/metrics/")
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        try:
            steps, values = [int(row["step"]) for row in rows], [float(row[path.stem]) for row in rows]
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{path}: needed are columns 'step' and {path.stem!r} of numbers: {error!r}"
            ) from error
        curves.append(Curve(stage, name, steps, values))
    return curves
