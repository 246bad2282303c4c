"""An experiment's page: ours beside the published figures, as Markdown and as JSON."""

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

from prorl.experiments.comparison import RESAMPLES, Comparison
from prorl.experiments.definition import Experiment
from prorl.files import atomic_file, write_json
from prorl.metrics.registry import decimals_of, label
from prorl.reports.tables import MISSING, Table, number, with_interval

PAGES = Path("reports/experiments")
PUBLISHED_SIMULATOR = "SASRec"
PACKAGES = ("torch", "transformers", "numpy", "dvc")


def write_page(
    root: Path, experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str
) -> None:
    """Write `reports/experiments/<dataset>/<name>.md` and `.json`."""
    page = root / PAGES / dataset / f"{experiment.name}.md"
    write_json(page.with_suffix(".json"), document(experiment, comparison, dataset, seeds, commit))
    text = markdown(root, experiment, comparison, dataset, seeds, commit)
    with atomic_file(page) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def findings(root: Path, experiment: Experiment, dataset: str) -> list[str]:
    """What people found in the table: the paragraphs of `reports/experiments/<dataset>/<name>.findings.md`.

    The file is written by hand; there are none where it is not there.
    """
    file = root / PAGES / dataset / f"{experiment.name}.findings.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def document(
    experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str
) -> dict:
    """All figures of the page, unrounded."""
    contents = experiment.contents
    return {
        "experiment": experiment.name,
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
                **figures,
            }
            for row, figures in comparison.rows.items()
        },
    }


def markdown(
    root: Path, experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str
) -> str:
    """The page as Markdown, with the findings of the repository at `root`."""
    contents = experiment.contents
    parts = [
        f"# {contents.title}: {dataset}",
        f"The paper's claim: {contents.claim.strip()}",
        f"Published figures: {contents.source.strip()}",
    ]
    if found := findings(root, experiment, dataset):
        parts += ["## Findings", *found]
    for simulator in comparison.simulators:
        parts += [f"## Judged by {simulator}", as_markdown(means(experiment, comparison, simulator))]
        parts += [
            differences_heading(experiment),
            as_markdown(differences(experiment, comparison, simulator)),
        ]
    if contents.training:
        parts += ["## Training", as_markdown(training(experiment, comparison))]
    parts += [
        "## Each seed",
        *(
            as_markdown(single_seeds(experiment, comparison, simulator, seeds))
            for simulator in comparison.simulators
        ),
    ]
    parts += [
        "## How it was run",
        as_markdown(rows_and_overrides(experiment)),
        notes(experiment, comparison, dataset, seeds, commit),
    ]
    return "\n\n".join(parts)


def means(experiment: Experiment, comparison: Comparison, simulator: str) -> Table:
    """Every row's metrics with intervals, and the published figures where they are for this simulator."""
    contents = experiment.contents
    published = (
        {metric for row in contents.rows.values() for metric in row.published}
        if simulator == PUBLISHED_SIMULATOR
        else set()
    )
    table = Table(f"Means, judged by {simulator}", [""])
    for metric in contents.metrics:
        table.columns.extend([short(metric), "published"] if metric in published else [short(metric)])
    for name, row in contents.rows.items():
        own, cells = comparison.rows[name]["metrics"][simulator], []
        for metric in contents.metrics:
            cells.append(with_interval(own[metric], decimals_of(metric)) if metric in own else MISSING)
            if metric in published:
                cells.append(number(row.published.get(metric), decimals_of(metric)))
        table.rows.append([row.label, *cells])
    return table


def differences(experiment: Experiment, comparison: Comparison, simulator: str) -> Table:
    """Every row's paired differences, the clear ones bold."""
    contents = experiment.contents
    table = Table(
        f"Paired differences, judged by {simulator}",
        ["", "against", *(short(metric) for metric in contents.metrics)],
    )
    for name, row in contents.rows.items():
        if simulator not in comparison.rows[name]["differences"]:
            continue
        own, cells = comparison.rows[name]["differences"][simulator], []
        for metric in contents.metrics:
            text = with_interval(own[metric], decimals_of(metric)) if metric in own else MISSING
            cells.append(f"**{text}**" if metric in own and own[metric]["clear"] else text)
        table.rows.append([row.label, contents.rows[row.against or contents.reference].label, *cells])
    return table


def differences_heading(experiment: Experiment) -> str:
    """What stands over the differences."""
    bold = "bold where the interval excludes 0 and every seed has the same sign"
    return f"Differences on the same prompts, {bold}:"


def training(experiment: Experiment, comparison: Comparison) -> Table:
    """Figures of the training, mean over seeds, beside the published ones."""
    contents = experiment.contents
    table = Table("Training", [""])
    for figure in contents.training.values():
        table.columns.extend([figure.label, "published"])
    for name, row in contents.rows.items():
        values = [
            (comparison.rows[name]["training"].get(figure), row.published.get(figure))
            for figure in contents.training
        ]
        table.rows.append([row.label, *(number(value, 2) for pair in values for value in pair)])
    return table


def single_seeds(experiment: Experiment, comparison: Comparison, simulator: str, seeds: list[int]) -> Table:
    """Every seed's means."""
    contents = experiment.contents
    columns = [f"{short(metric)}, seeds {', '.join(map(str, seeds))}" for metric in contents.metrics]
    table = Table(f"Each seed, judged by {simulator}", [simulator, *columns])
    for name, row in contents.rows.items():
        own = comparison.rows[name]["metrics"][simulator]
        cells = [
            " / ".join(number(v, decimals_of(m)) for v in own[m]["seeds"]) if m in own else MISSING
            for m in contents.metrics
        ]
        table.rows.append([row.label, *cells])
    return table


def rows_and_overrides(experiment: Experiment) -> Table:
    """What every row sets, and whose paths it shows."""
    table = Table("Rows", ["", "parameters", "policy", "decoding"])
    for name, row in experiment.contents.rows.items():
        overrides = (
            " ".join(f"`{override}`" for override in experiment.overrides[name]) or "those of params.yaml"
        )
        table.rows.append([row.label, overrides, f"`{row.policy}`", row.decoding])
    return table


def notes(experiment: Experiment, comparison: Comparison, dataset: str, seeds: list[int], commit: str) -> str:
    """What the figures are, and how to get them again."""
    rows = experiment.contents.rows
    only = f" --only {' '.join(rows)}" if len(rows) < len(experiment.overrides) else ""
    options = f"{experiment.name} --dataset {dataset} --seeds {' '.join(map(str, seeds))}{only}"
    return (
        f"Training seeds {', '.join(map(str, seeds))}; data, simulators and prompts are the same for all. "
        f"{comparison.n_prompts:,} test prompts of {comparison.n_users:,} users; means over seeds, with 95% "
        f"intervals from {RESAMPLES:,} resamples of users of each prompt's mean over seeds: "
        "how these policies do on other users, not how other seeds would do.\n\n"
        f"    git checkout {commit}\n    prorl experiments run {options}\n"
        f"    prorl experiments table {options}\n\n{made_with()}."
    )


def as_markdown(table: Table) -> str:
    """`table` as a Markdown table, without its caption."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def short(metric: str) -> str:
    """The metric's name without what it stands for."""
    return label(metric).partition(",")[0]


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
