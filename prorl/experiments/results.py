"""What a DVC experiment left behind: every test prompt's metrics and the curves of fine-tuning, read from its
commit and the DVC cache.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from dvc.api import DVCFileSystem

from prorl.errors import DataError
from prorl.experiments.definition import TrainingFigure
from prorl.layout import Layout


@dataclass(frozen=True)
class Result:
    """`name` of the experiment, and its prompts: a row for each guide, simulator and prompt, with a column
    for each metric.
    """

    name: str
    prompts: pd.DataFrame
    files: DVCFileSystem
    layout: Layout

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
        return cls(name, pd.read_parquet(io.BytesIO(content)), files, layout)

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
        path = f"{self.layout.curves('finetune')}/plots/metrics/{figure.curve}.tsv"
        try:
            rows = list(csv.DictReader(str(self.files.read_text(path)).splitlines(), delimiter="\t"))
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: {path}: no such curve") from error
        steps = np.array([int(row["step"]) for row in rows])
        values = np.array([float(row[figure.curve.rpartition("/")[2]]) for row in rows])
        share = steps / steps.max()
        inside = (share > figure.after) & (share <= figure.until)
        if not inside.any():
            raise DataError(
                f"{self.name}: {path}: no step in {figure.after} to {figure.until} of {steps.max()} steps"
            )
        return float(values[inside].mean())
