"""Rows at the paper's maturity, hours each: kept in git one by one, so that a run may be stopped at any time.

Of each run `reports/experiments/<dataset>/<name>-long/<row>-seed-<seed>/` has the commit and the overrides
that it ran with, every test prompt's metrics, and the curves that the page shows. It counts as there as long
as its overrides are those of the experiment's file, whatever else has been committed since: the page says on
which commit each row ran. To run a row again, remove its folder. Where the file asks for what the row was
kept without, or the row does not say what it was kept with, that is what is left to do.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from prorl.errors import DataError
from prorl.experiments.comparison import compare
from prorl.experiments.definition import FOLDER, Experiment, Row
from prorl.experiments.pages import PAGES, write_page
from prorl.experiments.results import Result, prefix_of
from prorl.experiments.running import Run, base_params, planned, planned_run, run_all
from prorl.files import atomic_folder, read_json, write_json
from prorl.worktrees import WorktreeError, git, head

ABOUT, PROMPTS, CURVES = "run.json", "per_prompt.parquet", "curves"
PAGE_FILES = (".md", ".json", ".svg")
IDENTITY = ["policy", "simulator", "prompt", "user", "target"]  # columns beside the metrics


@dataclass(frozen=True)
class Store:
    """The kept rows of a long experiment, all of its rows, on a data set in the repository at `root`."""

    root: Path
    experiment: Experiment
    dataset: str

    @property
    def folder(self) -> Path:
        """The folder of all rows, from the root."""
        return PAGES / self.dataset / self.experiment.label

    def has(self, run: Run) -> bool:
        """See `Kept.has`. What an interrupted command has left uncommitted is committed, with the page.

        Raises `DataError` as `results` does.
        """
        if self._about(run) is None:
            return False
        if git(self.root, "status", "--porcelain", "--untracked-files=all", "--", str(self._of(run))):
            self.write_page()
            self._commit(run)
        return True

    def keep(self, run: Run, commit: str, found: str) -> None:
        """See `Kept.keep`; the page is written anew too, and all is committed.

        Where git refuses the commit, this is said, and `has` tries again.
        """
        result = Result.read(self.root, run.name, found, self.dataset)
        folder = self.root / self._of(run)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            self._wanted(run, result.prompts).to_parquet(temporary / PROMPTS, index=False, compression="zstd")
            for curve in self._curves():
                path = temporary / CURVES / f"{curve}.tsv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(result.curve_text(curve), encoding="utf-8")
            about = {"row": run.row, "seed": run.seed, "commit": commit, "overrides": run.overrides}
            write_json(temporary / ABOUT, {**about, "asked": self._asked(run)})
        self.write_page()
        try:
            self._commit(run)
        except WorktreeError as error:
            print(f"{run.name}: not committed yet: {error}", flush=True)

    def results(self, params: dict, seeds: list[int]) -> dict[str, dict[int, Result]]:
        """{row: {seed: result}} of the rows of which all `seeds` are kept; rows that share a run share its
        results.

        Raises `DataError` for a row that was kept before the experiment asked for all that it does now.
        """
        found: dict[str, dict[int, Result]] = {}
        for row in self.experiment.contents.rows:
            runs = [
                planned_run(self.experiment, params, self.dataset, self.experiment.run_of(row), seed)
                for seed in seeds
            ]
            own = {run.seed: result for run in runs if (result := self._read(run))}
            if len(own) == len(seeds):
                found[row] = own
        return found

    def _of(self, run: Run) -> Path:
        return self.folder / f"{run.row}-seed-{run.seed}"

    def _about(self, run: Run) -> dict | None:
        """What is kept about `run`, where it ran with the same overrides."""
        file = self.root / self._of(run) / ABOUT
        about = read_json(file) if file.exists() else None
        if not about or about["overrides"] != run.overrides:
            return None
        if new := [name for name in self._asked(run) if name not in about.get("asked", ())]:
            raise DataError(
                f"{self._of(run)}: kept without {', '.join(new)}, which {FOLDER}/{self.experiment.name}.yaml "
                "asks for by now; without the folder the row runs again"
            )
        return about

    def _read(self, run: Run) -> Result | None:
        if (about := self._about(run)) is None:
            return None
        folder = self.root / self._of(run)
        files = DirFileSystem(str(folder), LocalFileSystem())
        return Result(run.name, pd.read_parquet(folder / PROMPTS), files, CURVES, about["commit"])

    def _wanted(self, run: Run, prompts: pd.DataFrame) -> pd.DataFrame:
        """What the rows that share `run` show of `prompts`; numbers in single precision."""
        columns = [column for column in self._columns(run) if column in prompts]
        policies = {row.policy for row in self._rows(run)}
        own = prompts.loc[prompts.policy.isin(policies), [*IDENTITY, *columns]]
        return own.astype(dict.fromkeys(columns, "float32"))

    def _rows(self, run: Run) -> list[Row]:
        """The rows that share `run`."""
        rows = self.experiment.contents.rows.items()
        return [row for name, row in rows if self.experiment.run_of(name) == run.row]

    def _columns(self, run: Run) -> list[str]:
        """The metrics that the rows of `run` show, each by its way to decode; not all ways have all."""
        contents = self.experiment.contents
        own = (row.decoding for row in self._rows(run))
        ways = dict.fromkeys([*own, *(f"rollout@{k}" for k in contents.best_of)])
        return [f"{prefix_of(way)}{metric}" for way in ways for metric in contents.metrics]

    def _asked(self, run: Run) -> list[str]:
        """All that the rows of `run` show: metrics and curves."""
        return [*self._columns(run), *self._curves()]

    def _curves(self) -> list[str]:
        long = self.experiment.contents.long
        return list(dict.fromkeys(figure.curve for figure in long.by_pass.values())) if long else []

    def write_page(self) -> None:
        """Write the page of all rows, as far as they are kept, over the seeds of the experiment's file."""
        params = base_params(self.root, head(self.root), self.dataset)
        seeds = self.experiment.contents.seeds
        if results := self.results(params, seeds):
            comparison = compare(self.experiment, results)
            write_page(self.root, self.experiment, comparison, self.dataset, seeds, None)

    def _commit(self, run: Run) -> None:
        """Commit the files of `run`, and the page, alone. Raises `WorktreeError` where git refuses."""
        beside = (self.root / self.folder.parent).glob(f"{self.folder.name}.*")
        pages = [path.relative_to(self.root) for path in sorted(beside) if path.suffix in PAGE_FILES]
        paths = [str(path) for path in (self._of(run), *pages) if ".findings" not in path.suffixes]
        row = self.experiment.contents.rows[run.row].label
        message = f"{self.experiment.name} at the paper's maturity, {self.dataset}: {row}, seed {run.seed}"
        git(self.root, "add", "--", *paths)
        git(self.root, "commit", "--quiet", "--only", "--message", message, "--", *paths)


def run_long(
    root: Path, experiment: Experiment, rows: list[str], dataset: str | None, seeds: list[int]
) -> None:
    """Run those of `rows` of `experiment` that are not kept yet, and commit each as it ends; no `rows` are
    all.

    Raises what `run_all` and `Store.has` raise, and `WorktreeError` at the end where git has refused a commit
    again.
    """
    params = base_params(root, head(root), dataset)
    store = Store(root, experiment, dataset or params["datasets"][0])
    wanted = experiment.only(rows)
    run_all(root, wanted, dataset, seeds, queue=False, kept=store)
    for run in planned(wanted, params, store.dataset, seeds):
        store.has(run)
