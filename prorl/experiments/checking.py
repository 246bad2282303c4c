"""The files of experiments, looked through before anything runs."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prorl.check import findings_in
from prorl.config.section import ConfigError
from prorl.experiments.definition import Experiment, experiment_names, read_experiment
from prorl.experiments.overrides import applied
from prorl.experiments.running import source_of
from prorl.names import REGISTRIES
from prorl.presets import keep_data_set


def findings(root: Path, raw: dict[str, Any]) -> list[str]:
    """Every mistake in the experiments of the repository at `root`, a line each: in their files, and in the
    settings of their rows and long rows, laid over `raw`, the values of params.yaml, for its first data set
    alone, as they run.

    Of a file with a mistake the first is told, and its rows are left out.
    """
    found, base = [], copy.deepcopy(raw)
    keep_data_set(base, raw["datasets"][0])
    for name in experiment_names(root):
        try:
            experiment = read_experiment(root, name)
            variants = [experiment, *([experiment.at_maturity()] if experiment.contents.long else [])]
        except ConfigError as error:
            found.append(str(error))
            continue
        for variant in variants:
            found += _of_rows(variant, base)
    return list(dict.fromkeys(found))


def _of_rows(experiment: Experiment, raw: dict[str, Any]) -> Iterator[str]:
    """The mistakes of rows; those that share their overrides are looked at once."""
    for row in dict.fromkeys(experiment.run_of(row) for row in experiment.contents.rows):
        source = source_of(experiment, row)
        try:
            changed, _ = applied(raw, experiment.overrides[row], raw["datasets"][0], source)
        except ConfigError as error:
            yield str(error)
            continue
        yield from findings_in(changed, source, REGISTRIES)
