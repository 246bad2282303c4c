"""Reading `params.yaml`, strictly.

A section's keys hold for all data sets, and its entry named after a data set (`finetune.ml-100k`) overrides
them for that one alone. A missing key, an unknown key, a wrong type or a value out of range is a
`ConfigError` that names file, key, value and what is allowed.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML, YAMLError

from prorl.config import GLOBAL_SECTIONS, SECTIONS, ConfigError

PARAMS_FILE = Path("params.yaml")


@dataclass(frozen=True)
class Params:
    """All of `params.yaml`, validated. `section(name, dataset)` gives one typed section.

    `training_seed` is `seed` where params.yaml has null.
    """

    seed: int
    training_seed: int
    launch: str
    datasets: list[str]
    simulators: list[str]
    raw: dict[str, Any]
    source: str

    def section(self, name: str, dataset: str | None = None) -> Any:
        """The settings of section `name`, those of `dataset` over the general ones. Raises `ConfigError`."""
        values = dict(self.raw[name])
        if name not in GLOBAL_SECTIONS:
            overrides = {key: values.pop(key) for key in self.datasets}
            if dataset is not None:
                if dataset not in overrides:
                    raise ConfigError(
                        f"{self.source}: data set {dataset!r} is not in `datasets`, which holds {self.datasets}"
                    )
                values = _merged(values, overrides[dataset])
        return build(SECTIONS[name], values, name, self.source)


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate the whole of `path`, every section for every data set.

    Raises `ConfigError` for the first setting that is missing, unknown, of the wrong type or out of range.
    """
    source = str(path)
    try:
        raw = YAML(typ="safe").load(Path(path))
    except YAMLError as error:
        raise ConfigError(f"{source}: not readable as YAML: {error}") from error
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file; run from the root of the repository") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: expected a mapping of sections, found {type(raw).__name__}")
    heads = {
        "seed": int,
        "training_seed": int | None,
        "launch": str,
        "datasets": list[str],
        "simulators": list[str],
    }
    _check_keys(raw, [*heads, *SECTIONS], "", source)
    head = {key: _convert(kind, raw[key], key, {}, source) for key, kind in heads.items()}
    if head["training_seed"] is None:
        head["training_seed"] = head["seed"]
    if not head["datasets"]:
        raise ConfigError(f"{source}: datasets: got an empty list, allowed: at least one data set")
    params = Params(**head, raw=raw, source=source)
    for name in SECTIONS:
        if not isinstance(raw[name], dict):
            raise ConfigError(f"{source}: {name}: got {raw[name]!r}, allowed: a mapping")
        if name in GLOBAL_SECTIONS:
            params.section(name)
            continue
        for dataset in params.datasets:
            if not isinstance(raw[name].get(dataset), dict):
                raise ConfigError(
                    f"{source}: {name}.{dataset}: got {raw[name].get(dataset)!r}, allowed: a mapping, `{{}}` where nothing differs"
                )
        for dataset in params.datasets:
            params.section(name, dataset)
    for name in ("pretrain", "finetune"):
        _check_simulator(params, name)
    for dataset in params.datasets:
        _check_finetune(params, dataset)
    for dataset in params.datasets:
        longest = params.section("mine", dataset).history_length + params.section("decoding").max_length
        if params.section("simulator", dataset).max_length < longest:
            raise ConfigError(
                f"{source}: simulator.max_length: got {params.section('simulator', dataset).max_length} for {dataset}, "
                f"allowed: at least mine.history_length + decoding.max_length, {longest}"
            )
    return params


def _check_simulator(params: Params, name: str) -> None:
    """The simulator of section `name` is one of `simulators`, and one for all data sets: dvc.yaml names its
    folder as a dependency.
    """
    for dataset in params.datasets:
        if "simulator" in params.raw[name][dataset]:
            raise ConfigError(
                f"{params.source}: {name}.{dataset}.simulator: allowed only as {name}.simulator, for all data sets"
            )
    if params.raw[name]["simulator"] not in params.simulators:
        raise ConfigError(
            f"{params.source}: {name}.simulator: got {params.raw[name]['simulator']!r}, allowed: one of `simulators`, {params.simulators}"
        )


def _check_finetune(params: Params, dataset: str) -> None:
    """What fine-tuning does with empty paths and with errors agrees with whether decoding makes any."""
    settings, decoding = params.section("finetune", dataset), params.section("decoding")
    if (settings.empty_paths == "forbid") != (decoding.min_length >= 1):
        allowed = "forbid" if decoding.min_length >= 1 else "act or drop"
        raise ConfigError(
            f"{params.source}: finetune.empty_paths: got {settings.empty_paths}, "
            f"allowed: {allowed} where decoding.min_length is {decoding.min_length}"
        )
    if settings.stop_on_errors is not None and decoding.constrained:
        raise ConfigError(
            f"{params.source}: finetune.stop_on_errors: got a mapping, "
            "allowed: null where decoding.constrained is true, since there are no errors"
        )


def _merged(general: dict, specific: dict) -> dict:
    """`general` with the values of `specific` over it, mappings merged key by key."""
    merged = dict(general)
    for key, value in specific.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _check_keys(
    values: dict, allowed: list[str], prefix: str, source: str, optional: typing.Collection[str] = ()
) -> None:
    for key in values:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"
            raise ConfigError(f"{source}: {prefix}{key}: unknown key; {hint}")
    for key in allowed:
        if key not in values and key not in optional:
            raise ConfigError(f"{source}: {prefix}{key}: missing")


def build(cls: type, values: dict, name: str, source: str) -> Any:
    """`values`, the mapping `name` of the file `source`, as the dataclass `cls`; fields with a default may be
    missing.

    Raises `ConfigError`.
    """
    hints = typing.get_type_hints(cls)
    fields = {
        f.name.removesuffix("_"): f for f in dataclasses.fields(cls)
    }  # `import` is a Python keyword: its field is `import_`
    prefix = f"{name}." if name else ""
    optional = [key for key, f in fields.items() if {f.default, f.default_factory} != {dataclasses.MISSING}]
    _check_keys(values, list(fields), prefix, source, optional)
    given = {key: f for key, f in fields.items() if key in values}
    return cls(
        **{
            f.name: _convert(hints[f.name], values[key], f"{prefix}{key}", f.metadata, source)
            for key, f in given.items()
        }
    )


def _convert(kind: Any, value: Any, key: str, bounds: typing.Mapping, source: str) -> Any:
    """`value` as `kind`, within `bounds`; integers pass as floats, nothing else is coerced."""

    def refuse(allowed: str) -> typing.NoReturn:
        raise ConfigError(f"{source}: {key}: got {value!r} ({type(value).__name__}), allowed: {allowed}")

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            refuse("a mapping")
        return build(kind, value, key, source)
    if origin is Literal:
        if value not in arguments:
            refuse(", ".join(map(str, arguments)))
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, key, bounds, source)
    if origin is list:
        if not isinstance(value, list):
            refuse("a list")
        return [_convert(arguments[0], entry, f"{key}[{i}]", bounds, source) for i, entry in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            refuse("a mapping of names")
        return {
            _convert(arguments[0], name, key, {}, source): _convert(
                arguments[1], entry, f"{key}.{name}", bounds, source
            )
            for name, entry in value.items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        refuse({int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind])
    if kind in (int, float):
        words = {"above": "above", "at_least": "at least", "at_most": "at most", "below": "below"}
        allowed = " and ".join(
            f"{words[name]} {bound}" for name, bound in bounds.items() if bound is not None
        )
        inside = (
            (bounds.get("above") is None or value > bounds["above"])
            and (bounds.get("at_least") is None or value >= bounds["at_least"])
            and (bounds.get("at_most") is None or value <= bounds["at_most"])
            and (bounds.get("below") is None or value < bounds["below"])
        )
        if not inside:
            refuse(f"a number {allowed}")
    return value
