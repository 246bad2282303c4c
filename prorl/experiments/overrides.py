"""Overrides of parameters, `key=value` as `dvc exp run --set-param` takes them, applied to the settings of
params.yaml.
"""

import copy
import difflib
from typing import Any

from ruamel.yaml import YAML

from prorl.config.section import ConfigError
from prorl.config.sections import SECTIONS
from prorl.experiments.definition import key_of, share_of
from prorl.params import NOT_YAML


def applied(params: dict, overrides: list[str], dataset: str, source: str) -> tuple[dict, list[str]]:
    """`params` with `overrides` applied, and the overrides as DVC is to be given them.

    Where the entry of `dataset` in the section has the key, as after a preset, the value goes there, since
    the entry holds over the section's own. `33%` is that share of the whole number that stands there, at
    least 1. A whole number in the place of a float is given as one: to DVC's run cache 6 and 6.0 are not the
    same setting. A mapping may stand in for null alone: DVC would merge it into another. Raises `ConfigError`
    naming `source` for a key that params.yaml does not have.
    """
    changed, for_dvc = copy.deepcopy(params), {}
    for override in overrides:
        path = _path(changed, key_of(override, source), dataset, source)
        text = override.partition("=")[2]
        *parents, last = path
        place = changed
        for name in parents:
            place = place[name]
        if (share := share_of(place[last], override, source)) is not None:
            text = str(share)
        value = _value(text, f"{source}: got {override!r}")
        if isinstance(place[last], dict) or (isinstance(value, dict) and place[last] is not None):
            raise ConfigError(f"{source}: got {override!r}, allowed: one value for one key, not a mapping")
        if isinstance(place[last], float) and type(value) is int:
            value = float(value)
            text = str(value)
        place[last] = value
        for_dvc[".".join(path)] = text
    return changed, [f"{key}={text}" for key, text in for_dvc.items()]


def _value(text: str, found: str) -> Any:
    """The value that `text` is in YAML. Raises `ConfigError`, which tells what was `found`, for none."""
    try:
        return YAML(typ="safe").load(text)
    except NOT_YAML as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"{found}, allowed: a value in YAML: {told}") from error


def _path(params: dict, key: str, dataset: str, source: str) -> list[str]:
    """Where the value of `key` stands."""
    section, *rest = key.split(".")
    if section in SECTIONS and SECTIONS[section].per_data_set and _holds(params[section].get(dataset), rest):
        return [section, dataset, *rest]
    if not _holds(params, [section, *rest]):
        known = list(_leaves(params))
        close = difflib.get_close_matches(key, known, n=1)
        raise ConfigError(
            f"{source}: {key}: params.yaml has no such key"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )
    return [section, *rest]


def _holds(values: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return bool(path)


def _leaves(values: dict, prefix: str = ""):
    """The dotted keys of all values that are no mapping."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
