"""Rows times seeds of an experiment as DVC experiments, one after another, in a git worktree of their own.

`dvc exp run` writes parameters, results and dvc.lock into the workspace it runs in. Here that is
`.experiments/<dataset>`, a worktree of the checked-out commit, so the checkout stays as it is. In it,
unlike in DVC's temporary folders, an interrupted stage finds its checkpoint again. The worktree uses the
checkout's DVC cache: a stage that has run before with the same code, parameters and inputs is taken from
there, whether it ran in the checkout or for another row; `evaluate` and `report` are not kept there, and run
again. The experiments are refs of the one repository, so `dvc exp show` in the checkout lists them.

Seeds vary `training_seed`: the randomness of pre-training and fine-tuning. Data, users' split, simulators,
test prompts and sampling in evaluation stay those of `seed`, so all rows and seeds are judged by the same
judges on the same prompts, and can be paired prompt by prompt. The seed that is `seed` itself leaves
`training_seed` null, so that a run of the checkout stands for it. Beside the two policies a run evaluates the
guides that its rows show.
"""

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prorl.check import require
from prorl.config.section import ConfigError
from prorl.experiments.definition import FOLDER, Experiment
from prorl.experiments.overrides import applied
from prorl.layout import Layout
from prorl.names import REGISTRIES
from prorl.params import PARAMS_FILE
from prorl.presets import (
    PRESETS,
    checkable,
    keep_data_set,
    preset_file,
    round_trip_yaml,
    with_layers,
    write_params,
)
from prorl.worktrees import (
    WorktreeError,
    alone_in,
    bring_to,
    environment,
    git,
    head,
    refuse_uncommitted_changes,
    remove_unlisted_guides,
    share_cache,
    write_files_of,
)

WORKTREES = Path(".experiments")


@dataclass(frozen=True)
class Run:
    """One DVC experiment: its name, the first row it is for, its seed, its overrides as DVC takes them, and
    params.yaml with them.
    """

    name: str
    row: str
    seed: int
    overrides: list[str]
    params: dict


class Kept(Protocol):
    """Where the results of runs are kept beside their DVC experiments."""

    def has(self, run: Run) -> bool:
        """Whether the results of `run` are there."""
        ...

    def keep(self, run: Run, commit: str, found: str) -> None:
        """Keep what `run` on `commit` has left in its DVC experiment `found`."""
        ...


def base_params(root: Path, commit: str, dataset: str | None) -> dict:
    """params.yaml of `commit`, under its preset named after `dataset` where it does not have that data set;
    None is its first one. Other data sets are left out: overrides of a row hold for all, and may not agree
    with the settings of those.

    Raises `ConfigError` where there is no such preset, or it is one for another data set.
    """
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        write_files_of(root, commit, [PARAMS_FILE, PRESETS], there)
        file, layers = there / PARAMS_FILE, []
        if dataset is not None and dataset not in round_trip_yaml().load(file)["datasets"]:
            layers = [preset_file(there, dataset)]
        params = with_layers(file, layers)
    if dataset is not None and dataset not in params["datasets"]:
        raise ConfigError(
            f"preset {dataset!r} is one for {', '.join(params['datasets'])}; a data set is needed"
        )
    keep_data_set(params, dataset or params["datasets"][0])
    return params


def planned(experiment: Experiment, params: dict, dataset: str, seeds: list[int]) -> list[Run]:
    """The runs of all rows for each of `seeds`; rows with the same overrides share one."""
    rows = dict.fromkeys(experiment.run_of(row) for row in experiment.contents.rows)
    return [planned_run(experiment, params, dataset, row, seed) for seed in seeds for row in rows]


def planned_run(experiment: Experiment, params: dict, dataset: str, row: str, seed: int) -> Run:
    """The run of `row`: beside the two policies it evaluates the guides that its overrides name, or else the
    first of `guides` alone, since no row shows the others.

    Raises `ConfigError` for keys that `params` does not have; values are not looked at.
    """
    training_seed = "null" if seed == params["seed"] else seed
    own = experiment.overrides[row]
    alone = [] if any(text.startswith("guides=") for text in own) else [f"guides=[{params['guides'][0]}]"]
    overrides = [*own, *alone, f"training_seed={training_seed}"]
    changed, overrides = applied(params, overrides, dataset, source_of(experiment, row))
    return Run(f"{dataset}-{experiment.label}-{row}-seed-{seed}", row, seed, overrides, changed)


def source_of(experiment: Experiment, row: str) -> str:
    """How messages name `row`."""
    return f"{FOLDER}/{experiment.name}.yaml: {'long, ' if experiment.is_long else ''}row {row}"


def check_settings(experiment: Experiment, run: Run) -> None:
    """Raises `ConfigError` for settings of `run` that the checked-out code would refuse."""
    require(checkable(run.params, source_of(experiment, run.row)), REGISTRIES)


def finished(root: Path, commit: str, run: Run) -> str | None:
    """The DVC experiment that `run` left on `commit`; None where there is none with the same parameters."""
    ref = _ref(commit, run.name)
    found = git(root, "for-each-ref", "--format=%(objectname)", ref).strip()
    if not found or round_trip_yaml().load(git(root, "show", f"{found}:{PARAMS_FILE}")) != run.params:
        return None
    return found


def run_all(
    root: Path,
    experiment: Experiment,
    dataset: str | None,
    seeds: list[int],
    queue: bool,
    kept: Kept | None = None,
) -> None:
    """Run what is not there yet, one `dvc exp run` after another, or with `queue` put it into DVC's queue.

    There is what ran on the checked-out commit; with `kept`, what that has, and each run is kept as it ends.

    Raises `ConfigError` or `WorktreeError` before anything runs for whatever can be known by then, and after
    a run that fails.
    """
    refuse_uncommitted_changes(root, PRESETS)
    require_identity(root)
    commit = head(root)
    params = base_params(root, commit, dataset)
    dataset = dataset or params["datasets"][0]
    runs = planned(experiment, params, dataset, seeds)
    for run in runs:
        check_settings(experiment, run)
    worktree = root / WORKTREES / dataset
    with alone_in(worktree):
        for i, run in enumerate(runs, start=1):
            label = f"[{i}/{len(runs)}] {run.name}"
            if kept.has(run) if kept else finished(root, commit, run):
                print(f"{label}: there already", flush=True)
                continue
            if kept and (found := finished(root, commit, run)):  # ended, and not kept
                kept.keep(run, commit, found)
                print(f"{label}: kept", flush=True)
                continue
            print(f"{label}: {' '.join(run.overrides)}", flush=True)
            started = time.monotonic()
            _as_committed(root, worktree, commit)
            if round_trip_yaml().load(worktree / PARAMS_FILE) != params:
                write_params(params, worktree / PARAMS_FILE)
            targets = [f"{stage}@{dataset}" for stage in experiment.contents.targets]
            remove_unlisted_guides(worktree, Layout(dataset), run.params["guides"])
            _start(root, worktree, commit, run, targets, queue)
            if kept and (found := finished(root, commit, run)):
                kept.keep(run, commit, found)
                minutes = (time.monotonic() - started) / 60
                print(f"{label}: ended after {minutes:.0f} minutes, and kept", flush=True)
    if queue:  # without PYTHONPATH the queue would run the checkout's code, as it is by then
        folder = worktree.relative_to(root)
        print(f"to start the queue: cd {folder} && PYTHONPATH=$PWD:$PYTHONPATH dvc queue start", flush=True)


def require_identity(root: Path) -> None:
    """Raises `WorktreeError` where git does not know who commits, as DVC does for every experiment."""
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
    except WorktreeError:
        raise WorktreeError(
            "git has no identity to commit experiments with; "
            "set one by `git config user.name` and `user.email`"
        ) from None


def _start(root: Path, worktree: Path, commit: str, run: Run, targets: list[str], queue: bool) -> None:
    if git(root, "for-each-ref", _ref(commit, run.name)):  # with other parameters
        git(root, "update-ref", "-d", _ref(commit, run.name))
    overrides = [part for override in run.overrides for part in ("--set-param", override)]
    command = ["dvc", "exp", "run", "--name", run.name, *(["--queue"] if queue else []), *overrides, *targets]
    status = subprocess.run(command, cwd=worktree, env=environment(worktree), check=False).returncode
    if status:
        raise WorktreeError(
            f"{run.name}: `dvc exp run` ended with status {status}, see above; "
            "the same command goes on from here"
        )
    if not queue and not finished(root, commit, run):
        raise WorktreeError(
            f"{run.name}: DVC's experiment has other parameters than {', '.join(run.overrides)}"
        )


def _as_committed(root: Path, worktree: Path, commit: str) -> None:
    """Bring `worktree` to `commit`, without what an interrupted run left, and to the checkout's DVC cache.

    Recorded checksums of files from outside stay, also those of a data set that git does not know: of a file
    that is gone by now none can be made again.
    """
    bring_to(root, worktree, commit)
    git(worktree, "clean", "--quiet", "--force", "-d", "--exclude=/reports/*/inputs/")
    share_cache(root, worktree)


def _ref(commit: str, name: str) -> str:
    """Where DVC keeps the experiment `name` on `commit`."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
