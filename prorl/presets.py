"""Presets: settings laid over params.yaml, file by file."""

import os
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from prorl.check import require
from prorl.config.section import ConfigError
from prorl.config.sections import SECTIONS
from prorl.params import lay_over, read_params, read_yaml


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
        lay_over(params, read_yaml(Path(os.path.relpath(layer))))
        drop_other_data_sets(params, before)
        with tempfile.TemporaryDirectory() as folder:
            laid_over = Path(folder) / "params.yaml"
            round_trip_yaml().dump(params, laid_over)
            try:
                require(read_params(laid_over))
            except ConfigError as error:
                raise ConfigError(
                    str(error).replace(str(laid_over), f"{os.path.relpath(layer)} over params.yaml")
                ) from None
    return params


def drop_other_data_sets(params: dict, before: list[str]) -> None:
    """Drop from every section, in place, the entries of those data sets of `before` that are no longer among
    `datasets`.
    """
    kept = params["datasets"] if isinstance(params["datasets"], list) else before
    dropped = [dataset for dataset in before if dataset not in kept]
    for section in [name for name, kind in SECTIONS.items() if kind.per_data_set]:
        if isinstance(params[section], dict):
            for dataset in dropped:
                params[section].pop(dataset, None)


def round_trip_yaml() -> YAML:
    """A reader and writer that keeps comments and line breaks."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
