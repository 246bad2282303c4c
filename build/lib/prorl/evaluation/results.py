"""Every test prompt's results as `evaluate` wrote them, guide by guide and judge by judge.

Shape key: `p` prompts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prorl.errors import DataError
from prorl.metrics.intervals import UserBootstrap
from prorl.tables import read_frame

KEYS = pa.schema(
    [
        ("policy", pa.string()),
        ("simulator", pa.string()),
        ("prompt", pa.int64()),
        ("user", pa.int64()),
        ("path", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class Results:
    """Metrics {simulator: {guide: {metric: [p]}}} and paths {guide: [p] of items}, of the same prompts in the
    same order; `bootstrap` over their users.
    """

    metrics: dict[str, dict[str, dict[str, np.ndarray]]]
    paths: dict[str, list[np.ndarray]]
    bootstrap: UserBootstrap

    @classmethod
    def of(cls, rows: pd.DataFrame, n_resamples: int, seed: int) -> "Results":
        """From a table of which every column but those of `KEYS` is a metric.

        Raises `DataError` where guides were judged on different prompts.
        """
        named = [name for name in rows if name not in KEYS.names]
        metrics: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        paths: dict[str, list[np.ndarray]] = {}
        prompts = None
        for key, own in rows.groupby(["policy", "simulator"], sort=False):
            guide, simulator = cast(tuple[str, str], key)
            own = own.sort_values("prompt")
            prompts = own[["prompt", "user"]].to_numpy() if prompts is None else prompts
            if not np.array_equal(own[["prompt", "user"]], prompts):
                raise DataError(f"guide {guide}, judged by {simulator}: other prompts than the first guide's")
            metrics.setdefault(simulator, {})[guide] = {name: own[name].to_numpy() for name in named}
            paths[guide] = list(own.path)
        if prompts is None:
            raise DataError("no prompt has a result")
        return cls(metrics, paths, UserBootstrap.of_users(prompts[:, 1], n_resamples, seed))

    def of_guide(self, guide: str, judge: str) -> dict[str, np.ndarray]:
        """The metrics of `guide` by `judge`. Raises `DataError` where there are none."""
        if guide not in self.metrics.get(judge, {}):
            raise DataError(f"no result of guide {guide}, judged by {judge}")
        return self.metrics[judge][guide]


def read_results(
    path: Path, metrics: Collection[str], optional: Collection[str], n_resamples: int, seed: int
) -> Results:
    """The table at `path` with the columns `metrics`, and those of `optional` that it has.

    Raises `DataError` naming what is missing.
    """
    schema = KEYS
    present = pq.read_schema(path).names if path.exists() else []
    for name in (*metrics, *(name for name in optional if name in present)):
        schema = schema.append(pa.field(name, pa.float64()))
    rows = read_frame(path, schema)
    try:
        return Results.of(rows, n_resamples, seed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
