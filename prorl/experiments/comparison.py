"""Rows of an experiment compared: every metric over seeds, its difference from another row, the best of K
sampled paths, and figures of the training.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.experiments.definition import TRAINED, Contents, Experiment
from prorl.experiments.results import Result, prefix_of
from prorl.experiments.running import finished, planned_run
from prorl.experiments.statistics import difference, over_seeds
from prorl.metrics.intervals import UserBootstrap
from prorl.metrics.registry import METRICS

RESAMPLES = 2000
PROMPT = ("prompt", "user", "target")


@dataclass(frozen=True)
class Comparison:
    """What a table is made of.

    rows: {row: {"metrics": {simulator: {metric: {mean, low, high, seeds}}}, "differences": {simulator:
    {metric: {.., clear}}}, "best_of": {simulator: {metric: `best_of_counts`}}, "training": {figure: mean over
    seeds}, "by_pass": {figure: [mean over seeds of each pass]}, "commits": those that ran, where they are
    known}}; a metric that a row's way to decode does not have is left out, and so are a reference's own
    differences, those from a row that has not run, and rows that have not run.
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
                    f"`prorl experiments run {experiment.options} --dataset {dataset}` runs what is missing"
                )
            if run.name not in of_runs:
                of_runs[run.name] = Result.read(root, run.name, found, dataset)
            results[row][seed] = of_runs[run.name]
    return results


def compare(experiment: Experiment, results: dict[str, dict[int, Result]]) -> Comparison:
    """Every row of `results`, and every row against its reference.

    Raises `ConfigError` where a row is left out that another is compared with, or where none has run, and
    `DataError` where two were not judged on the same prompts.
    """
    contents = experiment.contents
    if not results:
        raise ConfigError(
            f"no row has run; `prorl experiments run {experiment.options}` runs what is missing"
        )
    needed = {row.against or contents.reference for row in contents.rows.values()} | {contents.reference}
    needed |= {figure.relative_to for figure in contents.training.values() if figure.relative_to}
    if left_out := [row for row in experiment.overrides if row in needed - contents.rows.keys()]:
        raise ConfigError(f"row {left_out[0]!r} is left out, and others are compared with it")
    paired_with = contents.reference if contents.reference in results else next(iter(results))
    first = next(iter(results[paired_with].values()))
    simulators = list(first.prompts.simulator.unique())
    parts = ("metrics", "differences", "best_of", "training", "by_pass")
    rows: dict[str, dict] = {row: {part: {} for part in parts} for row in contents.rows if row in results}
    for simulator in simulators:
        prompts = first.of(contents.rows[paired_with].policy, simulator)

        def values_of(row: str, way: str, simulator=simulator, prompts=prompts) -> dict[str, np.ndarray]:
            return _values(contents, row, way, results[row], simulator, prompts)

        values = {row: values_of(row, contents.rows[row].decoding) for row in rows}
        bootstrap = UserBootstrap.of_users(prompts.user.to_numpy(), RESAMPLES, 0)
        for row, own in values.items():
            against = contents.rows[row].against or contents.reference
            rows[row]["metrics"][simulator] = {
                metric: over_seeds(per_prompt, bootstrap) for metric, per_prompt in own.items()
            }
            if against != row and against in values:
                shared = [metric for metric in own if metric in values[against]]
                rows[row]["differences"][simulator] = {
                    m: difference(own[m], values[against][m], bootstrap) for m in shared
                }
        if contents.best_of:
            ways = [f"rollout@{count}" for count in contents.best_of]
            best = {row: [values_of(row, way) for way in ways] for row in rows}
            for row, own in best.items():
                others = best.get(contents.reference) if row != contents.reference else None
                rows[row]["best_of"][simulator] = {
                    metric: best_of_counts(
                        [per_count[metric] for per_count in own],
                        [per_count[metric] for per_count in others] if others else None,
                        contents.best_of,
                        METRICS[metric].better == "lower",
                        bootstrap,
                    )
                    for metric in own[0]
                }
    trained = {row: results[row] for row in rows if contents.rows[row].policy == TRAINED}
    for row, of in trained.items():
        rows[row] |= {"training": _training(contents, of), "by_pass": _by_pass(experiment, of)}
    divide_by_others(contents, {row: rows[row] for row in trained})
    for row in rows:
        commits = {result.commit for result in results[row].values() if result.commit}
        rows[row]["commits"] = sorted(commits)
    judged = first.of(contents.rows[paired_with].policy, simulators[0])
    return Comparison(simulators, judged.user.nunique(), len(judged), rows)


def best_of_counts(
    values: list[np.ndarray],
    reference: list[np.ndarray] | None,
    counts: list[int],
    is_lower_better: bool,
    bootstrap: UserBootstrap,
) -> dict:
    """The best of each of `counts` sampled paths, `values` [s, p] of a metric: `{"counts", "values",
    "differences", "crossing"}`, a value and a paired difference from the `reference` for each count.

    `crossing` is the count from which on the reference's mean is not the worse one, None where it is so for
    none. The reference itself, with None, has neither differences nor a crossing.
    """
    found: dict = {"counts": counts, "values": [over_seeds(own, bootstrap) for own in values]}
    if reference is None:
        return found
    differences = [difference(own, other, bootstrap) for own, other in zip(values, reference, strict=True)]
    crossing = None
    for count, own in zip(reversed(counts), reversed(differences), strict=True):
        if (own["mean"] < 0) if is_lower_better else (own["mean"] > 0):
            break
        crossing = count
    return {**found, "differences": differences, "crossing": crossing}


def _training(contents: Contents, results: dict[int, Result]) -> dict[str, float]:
    return {
        name: float(np.mean([result.training(figure) for result in results.values()]))
        for name, figure in contents.training.items()
    }


def _by_pass(experiment: Experiment, results: dict[int, Result]) -> dict[str, list[float]]:
    """Figures of each pass, where the rows are those of the `long` part."""
    if (long := experiment.contents.long) is None or not experiment.is_long:
        return {}
    return {
        name: np.mean([result.by_pass(figure.curve, long.passes) for result in results.values()], 0).tolist()
        for name, figure in long.by_pass.items()
    }


def divide_by_others(contents: Contents, rows: dict[str, dict]) -> None:
    """Divide, in place, every figure that is relative to a row by that row's, or drop it where the row has
    not run, or has 0.
    """
    for name, figure in contents.training.items():
        if figure.relative_to:
            divisor = rows[figure.relative_to]["training"][name]
            for own in rows.values():
                value = own["training"].pop(name)
                if divisor:
                    own["training"][name] = value / divisor
    for name, figure in (contents.long.by_pass if contents.long else {}).items():
        if not figure.relative_to:
            continue
        of_divisor = rows.get(figure.relative_to, {}).get("by_pass", {}).get(name)
        divisor = of_divisor[0] if of_divisor else None
        for own in rows.values():
            values = own["by_pass"].pop(name, [])
            if divisor:
                own["by_pass"][name] = [value / divisor for value in values]


def _values(
    contents: Contents,
    row: str,
    way: str,
    results: dict[int, Result],
    simulator: str,
    prompts: pd.DataFrame,
) -> dict[str, np.ndarray]:
    """{metric: [s, p]} of the metrics that the `way` to decode has, all on the same `prompts`."""
    start = prefix_of(way)
    tables = [result.of(contents.rows[row].policy, simulator) for result in results.values()]
    for result, table in zip(results.values(), tables, strict=True):
        if not all(np.array_equal(table[column], prompts[column]) for column in PROMPT):
            raise DataError(
                f"{result.name}: judged on other prompts than row {contents.reference}: nothing to pair"
            )
    there = [metric for metric in contents.metrics if f"{start}{metric}" in tables[0]]
    if not there:
        raise DataError(f"row {row}: no metrics of {way!r}; columns are: {', '.join(tables[0].columns)}")
    return {
        metric: np.stack([table[f"{start}{metric}"].to_numpy(dtype=float) for table in tables])
        for metric in there
    }
