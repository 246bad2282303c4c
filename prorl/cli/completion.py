"""Names that the shell completes: those of the repository that it stands in, nothing elsewhere."""

from collections.abc import Iterable
from pathlib import Path

import typer

RELEASED = Path("models/released")  # bundles, by data set and name


def experiments(context: typer.Context, incomplete: str) -> list[str]:
    """Files of experiments/."""
    return _beginning(incomplete, (path.stem for path in Path("experiments").glob("*.yaml")))


def data_sets(context: typer.Context, incomplete: str) -> list[str]:
    """Data sets of params.yaml."""
    return _beginning(incomplete, _data_sets())


def data_sets_and_presets(context: typer.Context, incomplete: str) -> list[str]:
    """Data sets of params.yaml, and presets."""
    return _beginning(incomplete, [*_data_sets(), *(path.stem for path in Path("presets").glob("*.yaml"))])


def policies(context: typer.Context, incomplete: str) -> list[str]:
    """Folders of released policies."""
    return _beginning(incomplete, (path.parent.as_posix() for path in RELEASED.glob("*/*/prorl.json")))


def guides(context: typer.Context, incomplete: str) -> list[str]:
    """What a released policy's path can be written by."""
    from prorl.cli.guide import GUIDES

    return _beginning(incomplete, GUIDES)


def simulators(context: typer.Context, incomplete: str) -> list[str]:
    """Names of trained simulators."""
    return _beginning(incomplete, (path.name for path in Path("models/simulators").glob("*/[!.]*")))


def judged_guides(context: typer.Context, incomplete: str) -> list[str]:
    """Guides that the reports of the checkout hold results of."""
    from prorl.files import read_json

    files = [path for path in Path("reports").glob("*/evaluation.json") if path.is_file()]
    return _beginning(incomplete, {guide for path in files for guide in read_json(path)})


def _data_sets() -> list[str]:
    """Those of params.yaml; none where it cannot be read, since a completion has no place for an error."""
    try:
        from prorl.config.section import ConfigError
        from prorl.params import params_of, read_params_file
    except ModuleNotFoundError:  # without the extra that reads YAML
        return []
    try:
        return params_of(read_params_file(), "params.yaml").datasets
    except ConfigError:
        return []


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
