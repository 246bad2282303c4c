"""What two runs are compared by: the results of a git revision, an experiment, a folder or the workspace."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.layout import Layout
from prorl.worktrees import WorktreeError, git

if TYPE_CHECKING:
    import pandas as pd

WORKSPACE = "workspace"
EXPERIMENTS = "refs/exps"  # where DVC keeps those that have run
REPORT, PROMPTS = "evaluation.json", "per_prompt.parquet"

Intervals = dict[str, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Side:
    """One of two runs. `told` says what it is.

    intervals: {guide: {judge: {metric: {mean, low, high}}}} as committed, metrics of other ways to decode
    called `way/metric`; empty where there is no report. prompts: a row for each guide, judge and prompt, None
    where they are not at hand.
    """

    told: str
    intervals: Intervals
    prompts: "pd.DataFrame | None"


@dataclass(frozen=True)
class _Source:
    """A run not yet read: the data sets it has reports of, and how one of them is read. `datasets` is None
    for a folder that holds the results of one data set alone.
    """

    told: str
    datasets: list[str] | None
    read: Callable[[str], Side]


def sides_of(root: Path, names: tuple[str, str], dataset: str | None) -> tuple[Side, Side]:
    """The two runs called `names` in the repository at `root`, on `dataset`; None: the one they share.

    Raises `ConfigError` for a name that is none, and where it is not clear which data set; `DataError` where
    a run has no results of it.
    """
    sources = [_source(root, name) for name in names]
    known = [source.datasets for source in sources if source.datasets is not None]
    if dataset is None and known:
        shared = [name for name in known[0] if all(name in own for own in known)]
        if len(shared) != 1:
            found = ", ".join(shared) or "none"
            raise ConfigError(f"--dataset: missing; data sets with results of both: {found}")
        dataset = shared[0]
    a, b = (source.read(dataset or "") for source in sources)
    return a, b


def _source(root: Path, name: str) -> _Source:
    if name == WORKSPACE:
        return _of_folder(root, "the workspace")
    path = Path(name)
    if path.is_file() and path.suffix == ".parquet":
        return _Source(name, None, lambda _: Side(name, {}, _prompts(path)))
    if path.is_dir() and (source := _of_folder(path, f"folder {name}")).datasets != []:
        return source
    commit = _commit(root, name)
    if commit is None:
        kind = f"a folder without {REPORT}, {PROMPTS} or reports/" if path.exists() else "neither"
        allowed = f"a git revision, a DVC experiment, a folder with reports, or `{WORKSPACE}`"
        raise ConfigError(f"{name!r}: got {kind}, allowed: {allowed}")
    return _of_commit(root, name, commit)


def _of_folder(folder: Path, told: str) -> _Source:
    """The results in a checkout, or those of one data set in a folder of their own."""
    report, prompts = folder / REPORT, folder / PROMPTS
    if report.exists() or prompts.exists():
        side = Side(told, _intervals(report) if report.exists() else {}, None)
        return _Source(
            told, None, lambda _: replace(side, prompts=_prompts(prompts) if prompts.exists() else None)
        )
    datasets = sorted(path.parent.name for path in folder.glob(f"reports/*/{REPORT}"))

    def read(dataset: str) -> Side:
        layout = Layout(dataset)
        report, prompts = folder / layout.metrics("evaluation"), folder / layout.per_prompt
        if not report.exists():
            raise DataError(f"{told}: {layout.metrics('evaluation')}: missing; data sets: {datasets}")
        return Side(told, _intervals(report), _prompts(prompts) if prompts.exists() else None)

    return _Source(told, datasets, read)


def _of_commit(root: Path, name: str, commit: str) -> _Source:
    """The results that git has of `commit`, and those per prompt that DVC's cache has."""
    told = f"{name} ({commit[:10]})" if not commit.startswith(name) else commit[:10]
    files = git(root, "ls-tree", "-r", "--name-only", commit, "--", "reports").splitlines()
    datasets = [
        Path(file).parent.name
        for file in files
        if file == str(Layout(Path(file).parent.name).metrics("evaluation"))
    ]

    def read(dataset: str) -> Side:
        file = Layout(dataset).metrics("evaluation")
        if dataset not in datasets:
            raise DataError(f"{told}: {file}: missing; data sets: {datasets}")
        report = _flat(json.loads(git(root, "show", f"{commit}:{file}")))
        return Side(told, report, _cached_prompts(root, name, commit, dataset))

    return _Source(told, datasets, read)


def _commit(root: Path, name: str) -> str | None:
    """The commit that `name` names, as a revision or as a DVC experiment; None where it names none.

    Raises `ConfigError` for a name that experiments of several commits have.
    """
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except WorktreeError:
        refs = git(root, "for-each-ref", "--format=%(refname) %(objectname)", EXPERIMENTS).splitlines()
    found = [commit for ref, _, commit in (line.partition(" ") for line in refs) if ref.endswith(f"/{name}")]
    if len(found) > 1:
        commits = ", ".join(commit[:10] for commit in found)
        raise ConfigError(f"{name!r}: got the name of {len(found)} experiments, allowed: one of {commits}")
    return found[0] if found else None


def _cached_prompts(root: Path, name: str, commit: str, dataset: str) -> "pd.DataFrame | None":
    """Those that DVC's cache has of `commit`; None where it has none."""
    if not git(root, "ls-tree", "--name-only", commit, "--", "dvc.lock"):
        return None
    from prorl.experiments.results import Result

    try:
        return Result.read(root, name, commit, dataset).prompts
    except DataError:  # not in the cache: the committed intervals remain
        return None


def _prompts(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error


def _intervals(path: Path) -> Intervals:
    from prorl.files import read_json

    try:
        return _flat(read_json(path))
    except ValueError as error:
        raise DataError(str(error)) from error


def _flat(report: dict[str, Any]) -> Intervals:
    """`evaluation.json` with metrics of other ways to decode as `way/metric`; without what has no judge."""
    found: Intervals = {}
    for guide, judges in report.items():
        for judge, metrics in judges.items():
            if isinstance(metrics, dict):
                own = found.setdefault(guide, {}).setdefault(judge, {})
                for name, value in metrics.items():
                    own |= {name: value} if "mean" in value else {f"{name}/{m}": v for m, v in value.items()}
    return found
