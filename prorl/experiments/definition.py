"""What an experiment is: `experiments/<name>.yaml`, read strictly.

A row of its table is one list of parameter overrides, in the syntax of `dvc exp run --set-param`. A row with
`unset` takes over those of the row before it, without the ones named; so a path from one recipe to another is
written one change at a time. A `long` part says how the same rows are trained for as many passes as the
paper's.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from prorl.config.heads import POLICIES
from prorl.config.section import ConfigError, Refused, Settings, build
from prorl.metrics.registry import METRICS
from prorl.params import read_yaml

FOLDER = Path("experiments")
TRAINED = "prorl"  # the policy that fine-tuning gives, whose training the figures are of
# Ways to decode, and the setting that names the numbers each may have.
WAYS = {
    "rollout": "evaluate.rollouts",
    "beam": "evaluate.beams",
    "max": "evaluate.live_beams",
    "target": "evaluate.target_percentiles",
}


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


class PassFigure(Settings):
    """A training curve of fine-tuning, averaged over each pass; `published` is {row: {pass: figure}}.

    `relative_to` names the row whose value in the first pass divides all values of every row.
    """

    label: str
    curve: str
    relative_to: str | None = None
    published: dict[str, dict[int, float]] = Field(default_factory=dict)


class Long(Settings):
    """The rows at the paper's maturity: passes of pre-training over mined paths, and of fine-tuning over all
    training prompts; further overrides, laid over `common`; and curves shown pass by pass.
    """

    seeds: list[int]
    pretrain_passes: int = Field(ge=1)
    passes: int = Field(ge=1)
    set: list[str]
    by_pass: dict[str, PassFigure] = Field(default_factory=dict)

    @property
    def overrides(self) -> list[str]:
        """What is laid over `common`."""
        passes = [f"pretrain.passes={self.pretrain_passes}", f"finetune.epochs={self.passes}"]
        return [*passes, "finetune.steps=null", *self.set]


class Contents(Settings):
    """The keys of `experiments/<name>.yaml`.

    `source`: where in the paper the figures stand, and on which data; `targets`: stages that run; `common`:
    overrides of every row, before the row's own; `reference`: the row that the others are compared with,
    unless `against` says otherwise. `best_of`: numbers K of sampled paths, of which the best counts, that
    every row is shown for beside its greedy paths.
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
    best_of: list[int] = Field(default_factory=list)
    long: Long | None = None

    @property
    def common_in_full(self) -> list[str]:
        """`common`, and what `best_of` asks of the evaluation."""
        counts = ",".join(map(str, self.best_of))
        return [*self.common, f"evaluate.rollouts=[{counts}]"] if self.best_of else self.common


@dataclass(frozen=True)
class Experiment:
    """`name`, what its file holds, and the overrides of each row of the file in full; `is_long` where its
    rows are those of the `long` part.
    """

    name: str
    contents: Contents
    overrides: dict[str, list[str]]
    is_long: bool = False

    @property
    def label(self) -> str:
        """What its runs and its page are called."""
        return f"{self.name}-long" if self.is_long else self.name

    @property
    def options(self) -> str:
        """How the command line names it."""
        return f"{self.name} --long" if self.is_long else self.name

    def at_maturity(self) -> "Experiment":
        """The same rows trained as the `long` part says, with its seeds; figures of shares of the steps are
        left out.

        Raises `ConfigError` where there is no such part.
        """
        source = f"{FOLDER}/{self.name}.yaml"
        if (long := self.contents.long) is None:
            raise ConfigError(f"{source}: no `long:` part, which --long runs")
        common = [*self.contents.common, *long.overrides]
        contents = self.contents.replace(common=common, seeds=long.seeds, training={})
        return Experiment(self.name, contents, _overrides_of_rows(contents, source), is_long=True)

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
    """Raises `ConfigError` for names in the wrong form, for metrics and ways to decode that nobody knows, and
    for rows and figures that are referred to and not there.
    """

    def refuse(key: str, found: object, allowed: str) -> None:
        raise ConfigError(f"{source}: {key}: got {found!r}, allowed: {allowed}")

    rows = list(contents.rows)
    for name in rows:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            refuse("rows", name, "small letters, digits and _")
    long = contents.long
    lists = {"seeds": contents.seeds, **({"long.seeds": long.seeds} if long else {})}
    for key, seeds in lists.items():
        if not seeds or len(set(seeds)) < len(seeds):
            refuse(key, seeds, "at least one number, each once")
    if contents.best_of != sorted(set(contents.best_of)) or min(contents.best_of, default=1) < 1:
        refuse("best_of", contents.best_of, "growing numbers of paths, each at least 1")
    for metric in contents.metrics:
        if metric not in METRICS:
            refuse("metrics", metric, ", ".join(METRICS))
    for name, row in contents.rows.items():
        if row.decoding != "greedy" and not re.fullmatch(rf"({'|'.join(WAYS)})@[1-9]\d*", row.decoding):
            refuse(f"rows.{name}.decoding", row.decoding, f"greedy, {', '.join(f'{way}@K' for way in WAYS)}")
    by_pass = long.by_pass if long else {}
    referred = {"reference": contents.reference}
    for name, figure in by_pass.items():
        key = f"long.by_pass.{name}"
        referred |= {f"{key}.relative_to": figure.relative_to} if figure.relative_to else {}
        referred |= {f"{key}.published": row for row in figure.published if row not in rows}
    referred |= {f"rows.{name}.against": row.against for name, row in contents.rows.items() if row.against}
    referred |= {
        f"training.{name}.relative_to": figure.relative_to
        for name, figure in contents.training.items()
        if figure.relative_to
    }
    for key, row in referred.items():
        if row not in rows:
            refuse(key, row, f"a row: {', '.join(rows)}")
    relative = {f"training.{name}": figure.relative_to for name, figure in contents.training.items()}
    relative |= {f"long.by_pass.{name}": figure.relative_to for name, figure in by_pass.items()}
    for key, row in relative.items():
        if row and contents.rows[row].policy != TRAINED:
            refuse(f"{key}.relative_to", row, f"a row of policy {TRAINED}")
    for name, figure in by_pass.items():
        for row, published in figure.published.items():
            for number in published:
                if long and not 1 <= number <= long.passes:
                    refuse(f"long.by_pass.{name}.published.{row}", number, f"a pass, 1 to {long.passes}")
    figures = [*contents.metrics, *contents.training]
    for name, row in contents.rows.items():
        for figure in row.published:
            if figure not in figures:
                refuse(f"rows.{name}.published", figure, ", ".join(figures))


def _overrides_of_rows(contents: Contents, source: str) -> dict[str, list[str]]:
    """Every row's overrides, those of all rows first; of two for the same key the later holds, a share of the
    earlier one's number where it is one.

    Where rows of one run are those of guides, these are evaluated beside the two policies.
    """
    overrides: dict[str, list[str]] = {}
    before: dict[str, str] = {}
    for name, row in contents.rows.items():
        own = dict(before) if row.unset else {key_of(text, source): text for text in contents.common_in_full}
        for key in row.unset:
            if key not in own:
                allowed = f"what the row before sets: {', '.join(own)}"
                raise ConfigError(f"{source}: rows.{name}.unset: got {key!r}, allowed: {allowed}")
            del own[key]
        for text in row.set:
            key = key_of(text, source)
            share = share_of(own[key].partition("=")[2], text, source) if key in own else None
            own[key] = text if share is None else f"{key}={share}"
        overrides[name] = list(own.values())
        before = own
    return {name: [*own, *_guides_named(contents, overrides, name)] for name, own in overrides.items()}


def _guides_named(contents: Contents, overrides: dict[str, list[str]], name: str) -> list[str]:
    """The override of `guides` that the run of row `name` needs, unless it has one."""
    if any(text.startswith("guides=") for text in overrides[name]):
        return []
    of_run = [row.policy for other, row in contents.rows.items() if overrides[other] == overrides[name]]
    named = dict.fromkeys(policy for policy in of_run if policy not in POLICIES)
    return [f"guides=[{','.join(named)}]"] if named else []


def share_of(number: Any, override: str, source: str) -> int | None:
    """What an override `key=33%` sets: that share, at least 1, of the whole `number`, or its digits, that
    stands there; None for an override that is no share.

    Raises `ConfigError` where there is no whole number.
    """
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)%", override.partition("=")[2])
    if percent is None:
        return None
    whole = int(number) if isinstance(number, str) and number.isdecimal() else number
    if not isinstance(whole, int) or isinstance(whole, bool):
        raise ConfigError(f"{source}: got {override!r}: a share of {number!r}, allowed: of a whole number")
    return max(1, round(whole * float(percent[1]) / 100))


def key_of(override: str, source: str) -> str:
    """The key of an override `key=value`. Raises `ConfigError` for anything else."""
    key, equals, _ = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.@-]*", key):
        raise ConfigError(f"{source}: got {override!r}, allowed: key=value, as in finetune.gamma=0.9")
    return key
