"""What an experiment is: `experiments/<name>.yaml`, read strictly.

A row of its table is one list of parameter overrides, in the syntax of `dvc exp run --set-param`. A row with
`unset` takes over those of the row before it, without the ones named; so a path from one recipe to another is
written one change at a time.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from prorl.config.section import ConfigError, Refused, Settings, build
from prorl.params import read_yaml

FOLDER = Path("experiments")
TRAINED = "prorl"  # the policy that fine-tuning gives, whose training the figures are of


class Row(Settings):
    """A row of the table: whose paths, under which overrides, decoded how, and what is published for it."""

    label: str
    set: list[str] = Field(default_factory=list)
    unset: list[str] = Field(default_factory=list)
    policy: str = TRAINED
    decoding: str = "greedy"
    against: str | None = None
    published: dict[str, float] = Field(default_factory=dict)


class TrainingFigure(Settings):
    """A training curve of fine-tuning, averaged over the steps after the share `after` of all steps up to the
    share `until`.

    `relative_to` names the row whose value divides that of every row.
    """

    label: str
    curve: str
    after: float = Field(ge=0, lt=1)
    until: float = Field(gt=0, le=1)
    relative_to: str | None = None

    @model_validator(mode="after")
    def _holds_steps(self) -> Self:
        if self.after >= self.until:
            raise Refused("after", self.after, f"below until, {self.until}")
        return self


class Contents(Settings):
    """The keys of `experiments/<name>.yaml`.

    `source`: where in the paper the figures stand, and on which data; `targets`: stages that run; `common`:
    overrides of every row, before the row's own; `reference`: the row that the others are compared with,
    unless `against` says otherwise.
    """

    title: str
    source: str
    claim: str
    seeds: list[int]
    targets: list[str]
    common: list[str]
    reference: str
    metrics: list[str]
    rows: dict[str, Row]
    training: dict[str, TrainingFigure] = Field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """`name`, what its file holds, and the overrides of each row of the file in full."""

    name: str
    contents: Contents
    overrides: dict[str, list[str]]

    def only(self, rows: list[str]) -> "Experiment":
        """The experiment with these rows alone, or all where there are none.

        Raises `ConfigError` for rows that are not there.
        """
        for row in rows:
            if row not in self.contents.rows:
                raise ConfigError(
                    f"experiment {self.name!r} has no row {row!r}; there are: {', '.join(self.contents.rows)}"
                )
        kept = {name: row for name, row in self.contents.rows.items() if not rows or name in rows}
        return replace(self, contents=self.contents.replace(rows=kept))

    def run_of(self, row: str) -> str:
        """The first row with the same overrides as `row`: they share one run."""
        return next(name for name, overrides in self.overrides.items() if overrides == self.overrides[row])


def experiment_names(root: Path) -> list[str]:
    """The names of all experiments of the repository at `root`.

    Raises `ConfigError` where it has no folder of them.
    """
    if not (root / FOLDER).is_dir():
        raise ConfigError(f"no folder {FOLDER}/; run from the root of the repository")
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def read_experiment(root: Path, name: str) -> Experiment:
    """The experiment `name`.

    Raises `ConfigError` naming the experiments there are, or the file and the key with the mistake.
    """
    names = experiment_names(root)
    if name not in names:
        raise ConfigError(f"no experiment {name!r}; there are: {', '.join(names)}")
    source = f"{FOLDER}/{name}.yaml"
    contents = build(Contents, read_yaml(root / source, source, "keys"), "", source)
    _check(contents, source)
    return Experiment(name, contents, _overrides_of_rows(contents, source))


def _check(contents: Contents, source: str) -> None:
    """Raises `ConfigError` for names in the wrong form, and for rows and figures that are referred to and not
    there.
    """

    def refuse(key: str, found: object, allowed: str) -> None:
        raise ConfigError(f"{source}: {key}: got {found!r}, allowed: {allowed}")

    rows = list(contents.rows)
    for name in rows:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            refuse("rows", name, "small letters, digits and _")
    if not contents.seeds or len(set(contents.seeds)) < len(contents.seeds):
        refuse("seeds", contents.seeds, "at least one number, each once")
    referred = {"reference": contents.reference}
    referred |= {f"rows.{name}.against": row.against for name, row in contents.rows.items() if row.against}
    referred |= {
        f"training.{name}.relative_to": figure.relative_to
        for name, figure in contents.training.items()
        if figure.relative_to
    }
    for key, row in referred.items():
        if row not in rows:
            refuse(key, row, f"a row: {', '.join(rows)}")
    for name, figure in contents.training.items():
        if figure.relative_to and contents.rows[figure.relative_to].policy != TRAINED:
            refuse(f"training.{name}.relative_to", figure.relative_to, f"a row of policy {TRAINED}")
    figures = [*contents.metrics, *contents.training]
    for name, row in contents.rows.items():
        for figure in row.published:
            if figure not in figures:
                refuse(f"rows.{name}.published", figure, ", ".join(figures))


def _overrides_of_rows(contents: Contents, source: str) -> dict[str, list[str]]:
    """Every row's overrides, those of all rows first; of two for the same key the later holds."""
    overrides: dict[str, list[str]] = {}
    before: dict[str, str] = {}
    for name, row in contents.rows.items():
        own = dict(before) if row.unset else {key_of(text, source): text for text in contents.common}
        for key in row.unset:
            if key not in own:
                allowed = f"what the row before sets: {', '.join(own)}"
                raise ConfigError(f"{source}: rows.{name}.unset: got {key!r}, allowed: {allowed}")
            del own[key]
        own |= {key_of(text, source): text for text in row.set}
        overrides[name] = list(own.values())
        before = own
    return overrides


def key_of(override: str, source: str) -> str:
    """The key of an override `key=value`. Raises `ConfigError` for anything else."""
    key, equals, _ = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.@-]*", key):
        raise ConfigError(f"{source}: got {override!r}, allowed: key=value, as in finetune.gamma=0.9")
    return key
