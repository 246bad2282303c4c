"""Presets, settings laid over params.yaml file by file; and the entries of data sets in it."""

import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarint import ScalarInt

from prorl.check import OPTIONAL, require
from prorl.config.section import ConfigError
from prorl.config.sections import SECTIONS
from prorl.files import atomic_file
from prorl.params import Params, lay_over, params_of, read_params, read_yaml

PRESETS = "presets"  # their folder

# What a source's data are known to need; the entry of a data set of that name begins with it.
OWN = {("mine", name): {"ignored_attributes": ["Drama"]} for name in ("ml-100k", "ml-1m")}
PER_DATA_SET = [name for name, kind in SECTIONS.items() if kind.per_data_set]


def preset_file(root: Path, name: str) -> Path:
    """The file of preset `name`. Raises `ConfigError` naming those there are."""
    files = {path.stem: path for path in sorted((root / PRESETS).glob("*.yaml"))}
    if name not in files:
        raise ConfigError(f"no preset {name!r}; there are: {', '.join(files)}")
    return files[name]


def with_layers(params_file: Path, layers: list[Path]) -> dict:
    """The settings of `params_file` with those of the files `layers` laid over them, one after another.

    A layer may name data sets without entries: they are filled in. Raises `ConfigError` naming the file with
    the mistake.
    """
    params = round_trip_yaml().load(params_file)
    for layer in layers:
        before, shown = list(params["datasets"]), _shown(layer, params_file.parent)
        lay_over(params, read_yaml(layer, shown))
        fill_in_entries(params)
        drop_other_data_sets(params, before)
        require(checkable(params, f"{shown} over params.yaml"))
    return params


def _shown(file: Path, root: Path) -> str:
    """The path of `file` from `root` where it is in there, or else from the working directory."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else os.path.relpath(file)


def checkable(document: dict, source: str) -> Params:
    """The settings in `document`, as read from YAML with its comments; messages name them `source`.

    Raises `ConfigError` for a mistake outside sections.
    """
    return params_of(_plain(document), source)


def _plain(value: Any) -> Any:
    """`value` without what `round_trip_yaml` keeps of how it was written: comments, quotes, digits."""
    match value:
        case dict():
            return {_plain(key): _plain(held) for key, held in value.items()}
        case list():
            return [_plain(held) for held in value]
        case ScalarBoolean():  # a kind of int
            return bool(value)
        case ScalarInt():
            return int(value)
        case float():
            return float(value)
        case str():
            return str(value)
    return value


def fill_in_entries(document: dict) -> None:
    """Give every data set its entry in every section, in place: where there is none, an empty one or `OWN`.

    DVC needs them all to exist. Comments stay where they are, since no entry becomes the last of its section.
    """
    datasets = document["datasets"] if isinstance(document["datasets"], list) else []
    for section in PER_DATA_SET:
        entries = document.get(section)
        if isinstance(entries, dict):
            for dataset in datasets:
                if dataset not in entries:
                    _insert_before_last(entries, dataset, OWN.get((section, dataset), {}))


def _insert_before_last(entries: dict, dataset: Any, values: dict) -> None:
    """An entry before the last; the line break after a section belongs to the last of its entries."""
    entry = CommentedMap(values)
    entry.fa.set_flow_style()
    if isinstance(entries, CommentedMap):
        entries.insert(max(0, len(entries) - 1), dataset, entry)
    else:
        entries[dataset] = entry


def drop_other_data_sets(document: dict, before: list[str]) -> None:
    """Drop from every section, in place, the data sets of `before` that are no longer among `datasets`."""
    kept = document["datasets"] if isinstance(document["datasets"], list) else before
    dropped = [dataset for dataset in before if dataset not in kept]
    for section in PER_DATA_SET:
        entries = document.get(section)
        if isinstance(entries, dict):
            for dataset in dropped:
                entries.pop(dataset, None)


def keep_data_set(document: dict, dataset: str) -> None:
    """Leave `dataset` alone in `datasets` and in every section, in place; optional stages are no longer there
    for others either.
    """
    before = list(document["datasets"])
    if before == [dataset]:
        return
    document["datasets"] = [dataset]
    drop_other_data_sets(document, before)
    for kind in OPTIONAL:
        section = document.get(kind.section)
        listed = section.get("datasets") if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(listed, list):
            section["datasets"] = [name for name in listed if name not in before or name == dataset]


def add_data_set(params_file: Path, dataset: str) -> None:
    """Put `dataset` into `params_file`: into `datasets`, and an empty entry into every section of data sets.

    Raises `ConfigError` for one that is there already, and for a name that settings cannot have.
    """
    if dataset in read_params(params_file).datasets:
        raise ConfigError(f"{params_file}: data set {dataset!r} is in `datasets` already")
    document = round_trip_yaml().load(params_file)
    document["datasets"].append(dataset)
    fill_in_entries(document)
    require(checkable(document, f"{dataset!r} in {params_file}"))
    write_params(document, params_file)


def write_params(document: dict, params_file: Path) -> None:
    """Write `document` as `params_file`, with its comments."""
    with atomic_file(params_file) as temporary:
        round_trip_yaml().dump(document, temporary)


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, not as nothing."""

    def represent_none(self, data: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def round_trip_yaml() -> YAML:
    """A reader and writer that keeps comments, quotes and line breaks."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
