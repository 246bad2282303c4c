"""Fitting a simulator of one's own: a class that trains by itself, judged as the others are."""

from pathlib import Path
from typing import Any

from prorl.config.simulator import Simulator as SimulatorSettings
from prorl.curves import Curves
from prorl.errors import DataError
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.protocol import OwnSimulator
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.registry import own_settings
from prorl.simulators.training import last_item_ranks


def fit_own(
    kind: type[OwnSimulator],
    name: str,
    settings: SimulatorSettings,
    train: Sequences,
    validation: Sequences,
    n_items: int,
    seed: int,
    curves_folder: Path,
) -> OwnSimulator:
    """Simulator `name` of class `kind`, fitted, on the CPU. The metrics on validation users are its curves'
    one row.

    Raises `DataError` where the class gives no `n_items`, or others than there are.
    """
    simulator: Any = kind.fit(
        train, validation, n_items, own_settings(settings, name), derived_seed(seed, "simulator", name)
    )
    if (found := getattr(simulator, "n_items", None)) != n_items:
        raise DataError(f"simulator {name}: n_items of {kind.__name__}.fit: got {found}, allowed: {n_items}")
    if hasattr(simulator, "to"):  # it may have been fitted elsewhere
        simulator = simulator.to("cpu")
    metrics = ranking_metrics(last_item_ranks(simulator, validation, settings.max_length))
    curves = Curves(curves_folder)
    curves.log(1, {f"validation/{key}": value for key, value in metrics.items()})
    curves.close()
    return simulator
