"""Rows of an experiment compared: every metric over seeds, its difference from another row, and figures of
the training.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prorl.config.section import ConfigError
from prorl.experiments.definition import TRAINED, Experiment
from prorl.experiments.results import Result
from prorl.experiments.running import finished, planned_run
from prorl.experiments.statistics import difference, over_seeds
from prorl.metrics.intervals import UserBootstrap
from prorl.tables import DataError

RESAMPLES = 2000
PROMPT = ("prompt", "user", "target")


@dataclass(frozen=True)
class Comparison:
    """What a table is made of.

    rows: {row: {"metrics": {simulator: {metric: {mean, low, high, seeds}}}, "differences": {simulator:
    {metric: {.., clear}}}, "training": {figure: mean over seeds}}}; a metric that a row's way to decode does
    not have is left out, and so are a reference's own differences.
    """

    simulators: list[str]
    n_users: int
    n_prompts: int
    rows: dict[str, dict]


def read_results(
    root: Path, experiment: Experiment, params: dict, dataset: str, seeds: list[int], commit: str
) -> dict[str, dict[int, Result]]:
    """{row: {seed: result}}; rows that share a run share its results.

    Raises `ConfigError` naming the first run that is not there.
    """
    of_runs: dict[str, Result] = {}
    results: dict[str, dict[int, Result]] = {row: {} for row in experiment.contents.rows}
    for row in experiment.contents.rows:
        for seed in seeds:
            run = planned_run(experiment, params, dataset, experiment.run_of(row), seed)
            if (found := finished(root, commit, run)) is None:
                raise ConfigError(
                    f"{run.name} has not run on commit {commit[:10]} with these settings; "
                    f"`prorl experiments run {experiment.name} --dataset {dataset}` runs what is missing"
                )
            if run.name not in of_runs:
                of_runs[run.name] = Result.read(root, run.name, found, dataset)
            results[row][seed] = of_runs[run.name]
    return results


def compare(experiment: Experiment, results: dict[str, dict[int, Result]]) -> Comparison:
    """Every row, and every row against its reference.

    Raises `ConfigError` where a row is left out that another is compared with, `DataError` where two were not
    judged on the same prompts.
    """
    contents = experiment.contents
    needed = {row.against or contents.reference for row in contents.rows.values()} | {contents.reference}
    needed |= {figure.relative_to for figure in contents.training.values() if figure.relative_to}
    if left_out := [row for row in experiment.overrides if row in needed - contents.rows.keys()]:
        raise ConfigError(f"row {left_out[0]!r} is left out, and others are compared with it")
    first = next(iter(results[contents.reference].values()))
    simulators = list(first.prompts.simulator.unique())
    rows: dict[str, dict] = {row: {"metrics": {}, "differences": {}, "training": {}} for row in contents.rows}
    for simulator in simulators:
        prompts = first.of(contents.rows[contents.reference].policy, simulator)
        values = {row: _values(experiment, row, results[row], simulator, prompts) for row in contents.rows}
        bootstrap = UserBootstrap.of_users(prompts.user.to_numpy(), RESAMPLES, 0)
        for row, own in values.items():
            against = contents.rows[row].against or contents.reference
            rows[row]["metrics"][simulator] = {
                metric: over_seeds(per_prompt, bootstrap) for metric, per_prompt in own.items()
            }
            if against != row:
                shared = [metric for metric in own if metric in values[against]]
                rows[row]["differences"][simulator] = {
                    m: difference(own[m], values[against][m], bootstrap) for m in shared
                }
    trained = {name: results[name] for name, row in contents.rows.items() if row.policy == TRAINED}
    for name, figure in contents.training.items():
        means = {
            row: float(np.mean([result.training(figure) for result in of.values()]))
            for row, of in trained.items()
        }
        for row, mean in means.items():
            rows[row]["training"][name] = mean / means[figure.relative_to] if figure.relative_to else mean
    judged = first.of(contents.rows[contents.reference].policy, simulators[0])
    return Comparison(simulators, judged.user.nunique(), len(judged), rows)


def _values(
    experiment: Experiment, row: str, results: dict[int, Result], simulator: str, prompts: pd.DataFrame
) -> dict[str, np.ndarray]:
    """{metric: [s, p]} of the metrics that the row's way to decode has, all on the same `prompts`."""
    wanted = experiment.contents.rows[row]
    start = "" if wanted.decoding == "greedy" else f"{wanted.decoding}/"
    tables = [result.of(wanted.policy, simulator) for result in results.values()]
    for result, table in zip(results.values(), tables, strict=True):
        if not all(np.array_equal(table[column], prompts[column]) for column in PROMPT):
            raise DataError(
                f"{result.name}: judged on other prompts than row {experiment.contents.reference}: "
                "nothing to pair"
            )
    there = [metric for metric in experiment.contents.metrics if f"{start}{metric}" in tables[0]]
    if not there:
        raise DataError(
            f"row {row}: no metrics of {wanted.decoding!r}; columns are: {', '.join(tables[0].columns)}"
        )
    return {
        metric: np.stack([table[f"{start}{metric}"].to_numpy(dtype=float) for table in tables])
        for metric in there
    }
