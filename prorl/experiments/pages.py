"""An experiment's page: ours beside the published figures, as Markdown and as JSON."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from prorl.experiments import tables
from prorl.experiments.comparison import RESAMPLES, Comparison
from prorl.experiments.definition import Experiment
from prorl.experiments.tables import as_markdown, short
from prorl.files import atomic_file, read_json, write_json
from prorl.reports.drawing import titled_svg
from prorl.reports.plots import line_plot
from prorl.reports.tables import Table

PAGES = Path("reports/experiments")
PACKAGES = ("torch", "transformers", "numpy", "dvc")
PLOT_STYLE = 'width="480" style="background: white"'  # of a plot that stands alone


def write_page(
    root: Path,
    experiment: Experiment,
    comparison: Comparison,
    dataset: str,
    seeds: list[int],
    commit: str | None,
) -> None:
    """Write `reports/experiments/<dataset>/<name>.md`, `.json`, and the plots that the page shows."""
    page = root / PAGES / dataset / f"{experiment.label}.md"
    write_json(page.with_suffix(".json"), document(experiment, comparison, dataset, seeds, commit))
    for name, plot in best_of_plots(experiment, comparison).items():
        _write(page.with_name(name), plot)
    _write(page, markdown(root, experiment, comparison, dataset, seeds, commit))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def findings(root: Path, experiment: Experiment, dataset: str) -> list[str]:
    """What people found in the table: the paragraphs of `reports/experiments/<dataset>/<name>.findings.md`.

    The file is written by hand; there are none where it is not there.
    """
    file = root / PAGES / dataset / f"{experiment.label}.findings.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def document(
    experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str | None
) -> dict:
    """All figures of the page, unrounded; rows that have not run have none."""
    contents = experiment.contents
    return {
        "experiment": experiment.label,
        "dataset": dataset,
        "commit": commit,
        "seeds": seeds,
        "reference": contents.reference,
        "users": comparison.n_users,
        "prompts": comparison.n_prompts,
        "made_with": made_with(),
        "rows": {
            row: {
                "overrides": experiment.overrides[row],
                "published": contents.rows[row].published,
                **comparison.rows.get(row, {}),
            }
            for row in contents.rows
        },
    }


def markdown(
    root: Path,
    experiment: Experiment,
    comparison: Comparison,
    dataset: str,
    seeds: list[int],
    commit: str | None,
) -> str:
    """The page as Markdown, with the findings of the repository at `root`."""
    contents = experiment.contents
    where = ", at the paper's maturity" if experiment.is_long else ""
    parts = [
        f"# {contents.title}{where}: {dataset}",
        f"The paper's claim: {contents.claim.strip()}",
        f"Published figures: {contents.source.strip()}",
    ]
    if experiment.is_long:
        parts.append(what_has_run(experiment, comparison))
    other = f"{experiment.name}{'' if experiment.is_long else '-long'}"
    if contents.long and (root / PAGES / dataset / f"{other}.md").exists():
        words = "The short runs" if experiment.is_long else "The same rows at the paper's maturity"
        parts.append(f"{words}: [{other}]({other}.md).")
    if found := findings(root, experiment, dataset):
        parts += ["## Findings", *found]
    for simulator in comparison.simulators:
        parts += [
            f"## Judged by {simulator}",
            as_markdown(tables.means(experiment, comparison, simulator)),
            tables.differences_heading(experiment),
            as_markdown(tables.differences(experiment, comparison, simulator)),
        ]
    parts += _best_of(experiment, comparison)
    if contents.training:
        parts += ["## Training", as_markdown(tables.training(experiment, comparison))]
    if experiment.is_long:
        parts += _long(root, experiment, comparison, dataset)
    parts += [
        "## Each seed",
        *(
            as_markdown(tables.single_seeds(experiment, comparison, simulator, seeds))
            for simulator in comparison.simulators
        ),
        "## How it was run",
        as_markdown(tables.rows_and_overrides(experiment)),
        notes(experiment, comparison, dataset, seeds, commit),
    ]
    return "\n\n".join(parts)


def what_has_run(experiment: Experiment, comparison: Comparison) -> str:
    """How long the rows are trained, and which have run."""
    if (long := experiment.contents.long) is None:
        raise ValueError(f"{experiment.name}: no `long:` part")
    waiting = [row.label for name, row in experiment.contents.rows.items() if name not in comparison.rows]
    counted = f"{len(comparison.rows)} of {len(experiment.contents.rows)} rows have run"
    counted += f"; not yet: {', '.join(waiting)}" if waiting else ""
    return (
        f"Pre-trained for {long.pretrain_passes} passes over mined paths, once for each seed, and fine-tuned "
        f"for {long.passes} passes over all training prompts. {counted}."
    )


def _best_of(experiment: Experiment, comparison: Comparison) -> Iterator[str]:
    """The section on the best of K sampled paths, where there is one."""
    contents = experiment.contents
    if not contents.best_of:
        return
    reference = contents.rows[contents.reference].label
    yield "## The best of K sampled paths"
    yield (
        "Each metric by itself, at its best over the first K paths sampled at temperature 1; bold where the "
        f"paired difference from {reference} has an interval that excludes 0 and the same sign for every "
        f"seed. The last column is the K from which on {reference} is not worse than the row: from there, "
        "what the row has over it is had by more samples as well."
    )
    for simulator in comparison.simulators:
        yield f"### Judged by {simulator}"
        for table in tables.best_of(experiment, comparison, simulator):
            yield as_markdown(table)
        names = [name for name in best_of_plots(experiment, comparison) if name.endswith(f"-{simulator}.svg")]
        yield " ".join(f"![{name.removesuffix('.svg')}]({name})" for name in names)


def best_of_plots(experiment: Experiment, comparison: Comparison) -> dict[str, str]:
    """{file name: SVG} of the best of K paths, a line for each row, a plot for each metric and simulator."""
    contents, plots = experiment.contents, {}
    if not contents.best_of:
        return plots
    for simulator in comparison.simulators:
        for metric in contents.metrics:
            series = {
                contents.rows[row].label: (found["counts"], [value["mean"] for value in found["values"]])
                for row, figures in comparison.rows.items()
                if (found := figures["best_of"][simulator].get(metric))
            }
            if series:
                title = f"Best {short(metric)} of K paths, {simulator}"
                svg = str(titled_svg(line_plot(title, "K", series, x_scale="doubling")))
                name = f"{experiment.label}.best-{metric}-{simulator}.svg"
                plots[name] = svg.replace("<svg", f"<svg {PLOT_STYLE}", 1)
    return plots


def _long(root: Path, experiment: Experiment, comparison: Comparison, dataset: str) -> Iterator[str]:
    """The sections that long runs alone have: figures by pass, and the short runs' beside theirs."""
    found = tables.by_pass(experiment, comparison)
    if found:
        yield "## Pass by pass"
        yield from map(as_markdown, found)
    short_runs = root / PAGES / dataset / f"{experiment.name}.json"
    if short_runs.exists():
        yield "## Beside the short runs"
        for simulator in comparison.simulators:
            yield as_markdown(tables.beside_short(experiment, comparison, simulator, read_json(short_runs)))


def notes(
    experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str | None
) -> str:
    """What the figures are, and how to get them again; without `commit`, by the commits of the rows."""
    rows = experiment.contents.rows
    only = f" --only {' '.join(rows)}" if len(rows) < len(experiment.overrides) else ""
    options = f"{experiment.options} --dataset {dataset} --seeds {' '.join(map(str, seeds))}{only}"
    several = "s" if len(seeds) > 1 else ""
    text = (
        f"Training seed{several} {', '.join(map(str, seeds))}; data, simulators and prompts are the same for "
        f"all. {comparison.n_prompts:,} test prompts of {comparison.n_users:,} users; means over seeds, with "
        f"95% intervals from {RESAMPLES:,} resamples of users of each prompt's mean over seeds: "
        "how these policies do on other users, not how other seeds would do."
    )
    if commit is None:
        ran = Table("", ["", "ran on commit"])
        ran.rows.extend(
            [rows[row].label, ", ".join(f"`{own[:10]}`" for own in figures["commits"])]
            for row, figures in comparison.rows.items()
        )
        text += f"\n\n{as_markdown(ran)}"
    checkout = f"    git checkout {commit}\n" if commit else ""
    return (
        f"{text}\n\n{checkout}    prorl experiments run {options}\n"
        f"    prorl experiments table {options}\n\n{made_with()}."
    )


def made_with() -> str:
    """Versions and hardware that the page was made with."""
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    machine = f"{processor()}, {os.cpu_count()} cores{gpu}"
    return f"Made with Python {platform.python_version()}, {versions}; {machine}"


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
