"""Presets: settings laid over params.yaml, file by file."""

import os
import tempfile
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from prorl.config import GLOBAL_SECTIONS, SECTIONS, ConfigError
from prorl.params import read_params


def preset_file(root: Path, name: str) -> Path:
    """The file of preset `name`. Raises `ConfigError` naming those there are."""
    files = {path.stem: path for path in sorted((root / "presets").glob("*.yaml"))}
    if name not in files:
        raise ConfigError(f"no preset {name!r}; there are: {', '.join(files)}")
    return files[name]


def with_layers(params_file: Path, layers: list[Path]) -> dict:
    """The settings of `params_file` with those of the files `layers` laid over them, one after another.

    Raises `ConfigError` naming the file with the mistake.
    """
    params = round_trip_yaml().load(params_file)
    for layer in layers:
        before = list(params["datasets"])
        lay_over(params, settings_of(layer))
        drop_other_data_sets(params, before)
        with tempfile.TemporaryDirectory() as folder:
            laid_over = Path(folder) / "params.yaml"
            round_trip_yaml().dump(params, laid_over)
            try:
                read_params(laid_over)
            except ConfigError as error:
                raise ConfigError(
                    str(error).replace(str(laid_over), f"{os.path.relpath(layer)} over params.yaml")
                ) from None
    return params


def settings_of(layer: Path) -> dict:
    """The settings in the file `layer`. Raises `ConfigError` if it is not there or no mapping."""
    shown = os.path.relpath(layer)
    try:
        settings = YAML(typ="safe").load(layer)
    except YAMLError as error:
        raise ConfigError(f"{shown}: not readable as YAML: {error}") from error
    except FileNotFoundError:
        raise ConfigError(f"{shown}: no such file") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{shown}: expected a mapping of sections, found {type(settings).__name__}")
    return settings


def lay_over(values: dict, changes: dict) -> None:
    """Put `changes` into `values`, in place: a mapping is merged key by key, anything else replaces what was
    there.
    """
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(key), dict):
            lay_over(values[key], change)
        else:
            values[key] = change


def drop_other_data_sets(params: dict, before: list[str]) -> None:
    """Drop from every section, in place, the entries of those data sets of `before` that are no longer among
    `datasets`.
    """
    kept = params["datasets"] if isinstance(params["datasets"], list) else before
    dropped = [dataset for dataset in before if dataset not in kept]
    for section in SECTIONS.keys() - set(GLOBAL_SECTIONS):
        if isinstance(params[section], dict):
            for dataset in dropped:
                params[section].pop(dataset, None)


def round_trip_yaml() -> YAML:
    """A reader and writer that keeps comments and line breaks."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
