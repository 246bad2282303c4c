"""Reading params.yaml, strictly, a section at a time.

A section's keys hold for all data sets, and its entry named after a data set (`finetune.ml-100k`) overrides
them for that one alone. A missing key, an unknown key, a wrong type or a value out of range is a
`ConfigError` that names file, key, value and what is allowed. `prorl.check` reads all sections at once.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML, YAMLError

from prorl.config.heads import Heads
from prorl.config.section import ConfigError, Section, build, mistakes

PARAMS_FILE = Path("params.yaml")
# What the parser raises: beside its own errors, for no UTF-8, a date that is none, a list as a key, brackets
# without end.
NOT_YAML = (YAMLError, ValueError, TypeError, AttributeError, IndexError, RecursionError)
LARGEST = 4 * 2**20  # bytes of a YAML file of settings
MOST_BRACKETS = 2000  # the parser's time grows with the square of those that are never closed
MOST_VALUES, DEEPEST = 100_000, 50  # in one; an alias counts as often as it stands there
S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Params:
    """params.yaml, its `heads` checked and its sections as they stand there; `section` gives one, checked."""

    heads: Heads
    raw: dict[str, Any]
    source: str

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.heads.seed

    @property
    def training_seed(self) -> int:
        """Seed of pre-training and fine-tuning; `seed` where params.yaml has null."""
        return self.seed if self.heads.training_seed is None else self.heads.training_seed

    @property
    def datasets(self) -> list[str]:
        """The data sets there are."""
        return self.heads.datasets

    @property
    def simulators(self) -> list[str]:
        """The simulators there are."""
        return self.heads.simulators

    @property
    def guides(self) -> list[str]:
        """The guides that are evaluated beside the two policies."""
        return self.heads.guides

    def section(self, kind: type[S], dataset: str | None = None) -> S:
        """The section `kind`, the settings of `dataset` over the general ones. Raises `ConfigError`."""
        return build(kind, self.values(kind, dataset), kind.section, self.source)

    def mistakes(self, kind: type[Section], dataset: str | None = None) -> list[str]:
        """Every mistake for which `section` would raise, a line each."""
        try:
            values = self.values(kind, dataset)
        except ConfigError as error:
            return [str(error)]
        return mistakes(kind, values, kind.section, self.source)

    def values(self, kind: type[Section], dataset: str | None) -> dict[str, Any]:
        """The unchecked values of a section.

        Raises `ConfigError` where the section, or the entry of a data set, is no mapping.
        """
        name = kind.section
        if name not in self.raw:
            raise ConfigError(f"{self.source}: {name}: missing")
        if not isinstance(self.raw[name], dict):
            raise ConfigError(f"{self.source}: {name}: got {self.raw[name]!r}, allowed: a mapping")
        values = dict(self.raw[name])
        if not kind.per_data_set:
            return values
        entries = {key: values.pop(key, None) for key in self.datasets}
        for key, entry in entries.items():
            if not isinstance(entry, dict):
                allowed = "a mapping, `{}` where nothing differs"
                raise ConfigError(f"{self.source}: {name}.{key}: got {entry!r}, allowed: {allowed}")
        if dataset is None:
            return values
        if dataset not in entries:
            raise ConfigError(
                f"{self.source}: data set {dataset!r} is not in `datasets`, which holds {self.datasets}"
            )
        return laid_over(values, entries[dataset])


def read_params(path: Path = PARAMS_FILE) -> Params:
    """params.yaml at `path`.

    Raises `ConfigError` for a file that is not there, for one that is no mapping, and for the first mistake
    outside sections.
    """
    return params_of(read_params_file(path), str(path))


def read_params_file(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The unchecked values of params.yaml. Raises `ConfigError` where it is not there or no mapping."""
    if not Path(path).exists():
        raise ConfigError(f"{path}: no such file; run from the root of the repository")
    return read_yaml(path)


def params_of(raw: dict[str, Any], source: str) -> Params:
    """The values `raw` of params.yaml; messages name them `source`.

    Raises `ConfigError` for the first mistake outside sections.
    """
    return Params(build(Heads, heads_in(raw), "", source), raw, source)


def heads_in(raw: dict[str, Any]) -> dict[str, Any]:
    """Those of the values `raw` of params.yaml that stand outside sections."""
    return {key: raw[key] for key in Heads.model_fields if key in raw}


def read_yaml(path: Path, source: str | None = None, holds: str = "sections") -> dict[str, Any]:
    """The mapping of `holds` in the YAML file `path`, which messages name `source`. Raises `ConfigError`."""
    source = source or str(path)
    try:
        if (size := Path(path).stat().st_size) > LARGEST:
            raise ConfigError(f"{source}: {size:,} bytes, allowed: at most {LARGEST:,}")
        content = Path(path).read_bytes()
        if (found := content.count(b"[") + content.count(b"{")) > MOST_BRACKETS:
            raise ConfigError(f"{source}: {found:,} opening brackets, allowed: at most {MOST_BRACKETS:,}")
        raw = YAML(typ="safe").load(content)
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from error
    except ConfigError:
        raise
    except NOT_YAML as error:
        told = " ".join(str(error).split()).replace('in "<byte string>", ', "at ")
        raise ConfigError(f"{source}: not readable as YAML: {told}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: expected a mapping of {holds}, found {type(raw).__name__}")
    _require_bounded(raw, source)
    return raw


def _require_bounded(raw: dict[str, Any], source: str) -> None:
    """Raise `ConfigError` for more values than settings have: a few aliases can stand for more than any
    memory holds, or for themselves; and for a key outside text.
    """
    waiting: list[tuple[Any, int]] = [(raw, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            found = f"more than {MOST_VALUES:,} values" if depth <= DEEPEST else f"more than {DEEPEST} levels"
            raise ConfigError(
                f"{source}: {found}, allowed: fewer; aliases count as often as they stand there"
            )
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, depth + 1) for part in value]


def lay_over(values: dict, changes: dict) -> None:
    """Put `changes` into `values`, in place: a mapping is merged key by key, anything else replaces."""
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(key), dict):
            lay_over(values[key], change)
        else:
            values[key] = change


def laid_over(values: dict, changes: dict) -> dict:
    """A copy of `values` with `changes` laid over it."""
    copied = copy.deepcopy(values)
    lay_over(copied, changes)
    return copied
