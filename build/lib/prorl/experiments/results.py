"""What a run left behind: every test prompt's metrics and the curves of fine-tuning, read from the commit of
its DVC experiment and the DVC cache, or from a folder that git keeps.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from dvc.api import DVCFileSystem
from fsspec import AbstractFileSystem

from prorl.errors import DataError
from prorl.experiments.definition import TrainingFigure
from prorl.layout import Layout


@dataclass(frozen=True)
class Result:
    """`name` of the run, and its prompts: a row for each guide, simulator and prompt, with a column for each
    metric. `files` has the curves in the folder `curves`; `commit`: the one that ran, where it is known.
    """

    name: str
    prompts: pd.DataFrame
    files: AbstractFileSystem
    curves: str
    commit: str | None = None

    @classmethod
    def read(cls, root: Path, name: str, commit: str, dataset: str) -> "Result":
        """The results of experiment `name`, whose commit is `commit`.

        Raises `DataError` where the DVC cache does not have them.
        """
        files = DVCFileSystem(str(root), rev=commit)
        layout = Layout(dataset)
        path = str(layout.per_prompt)
        try:
            content = cast(bytes, files.read_bytes(path))
        except FileNotFoundError as error:
            raise DataError(f"{name}: {path} is not in the DVC cache: {error}") from error
        return cls(name, pd.read_parquet(io.BytesIO(content)), files, curves_of(layout))

    def of(self, policy: str, simulator: str) -> pd.DataFrame:
        """The rows of one policy under one simulator, in the order of prompts, without the columns of ways to
        decode that it lacks.

        Raises `DataError` naming what there is.
        """
        rows = self.prompts.loc[(self.prompts.policy == policy) & (self.prompts.simulator == simulator)]
        if rows.empty:
            there = sorted(
                {f"{a} under {b}" for a, b in zip(self.prompts.policy, self.prompts.simulator, strict=True)}
            )
            raise DataError(
                f"{self.name}: no results of {policy} under {simulator}; there are: {', '.join(there)}"
            )
        return rows.dropna(axis="columns", how="all").sort_values("prompt")

    def training(self, figure: TrainingFigure) -> float:
        """The mean of a curve of fine-tuning over the steps that `figure` names.

        Raises `DataError` where it holds none.
        """
        steps, values = self._curve(figure.curve)
        share = steps / steps.max()
        inside = (share > figure.after) & (share <= figure.until)
        if not inside.any():
            raise DataError(
                f"{self.name}: {self._path(figure.curve)}: no step in {figure.after} to {figure.until} of "
                f"{steps.max()} steps"
            )
        return float(values[inside].mean())

    def by_pass(self, curve: str, n_passes: int) -> list[float]:
        """The mean of a curve of fine-tuning in each of the `n_passes` passes that its steps make.

        Raises `DataError` where a pass holds no step.
        """
        steps, values = self._curve(curve)
        number = -(-steps * n_passes // steps.max())  # of the pass, from 1
        inside = [number == own for own in range(1, n_passes + 1)]
        if not all(own.any() for own in inside):
            raise DataError(
                f"{self.name}: {self._path(curve)}: {steps.max()} steps make no {n_passes} passes"
            )
        return [float(values[own].mean()) for own in inside]

    def curve_text(self, curve: str) -> str:
        """The file of a curve. Raises `DataError` where there is none."""
        try:
            return str(self.files.read_text(self._path(curve)))
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: {self._path(curve)}: no such curve") from error

    def _path(self, curve: str) -> str:
        return f"{self.curves}/{curve}.tsv"

    def _curve(self, curve: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps above 0 and values of a curve of fine-tuning."""
        rows = list(csv.DictReader(self.curve_text(curve).splitlines(), delimiter="\t"))
        steps = np.array([int(row["step"]) for row in rows])
        values = np.array([float(row[curve.rpartition("/")[2]]) for row in rows])
        return steps[steps > 0], values[steps > 0]


def prefix_of(way: str) -> str:
    """What the columns of a way to decode start with."""
    return "" if way == "greedy" else f"{way}/"


def curves_of(layout: Layout) -> str:
    """The folder of the curves of fine-tuning."""
    return f"{layout.curves('finetune')}/plots/metrics"
