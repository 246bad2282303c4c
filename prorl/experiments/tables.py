"""The tables of an experiment's page: rows of text, ours beside the published figures."""

from prorl.experiments.comparison import Comparison
from prorl.experiments.definition import Experiment
from prorl.metrics.registry import decimals_of, label
from prorl.reports.tables import MISSING, Table, number, with_interval

PUBLISHED_SIMULATOR = "SASRec"
NOT_RUN = "not run yet"


def means(experiment: Experiment, comparison: Comparison, simulator: str) -> Table:
    """Every row's metrics with intervals, and the published figures where they are for this simulator."""
    contents = experiment.contents
    published = _published(experiment, simulator)
    table = Table(f"Means, judged by {simulator}", [""])
    for metric in contents.metrics:
        table.columns.extend([short(metric), "published"] if metric in published else [short(metric)])
    for name, row in contents.rows.items():
        if name not in comparison.rows:
            table.rows.append(_not_run(row.label, table))
            continue
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
        if name not in comparison.rows or simulator not in comparison.rows[name]["differences"]:
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
            (comparison.rows.get(name, {}).get("training", {}).get(figure), row.published.get(figure))
            for figure in contents.training
        ]
        table.rows.append([row.label, *(number(value, 2) for pair in values for value in pair)])
    return table


def single_seeds(experiment: Experiment, comparison: Comparison, simulator: str, seeds: list[int]) -> Table:
    """Every seed's means."""
    contents = experiment.contents
    numbers = f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    columns = [f"{short(metric)}, {numbers}" for metric in contents.metrics]
    table = Table(f"Each seed, judged by {simulator}", [simulator, *columns])
    for name, row in contents.rows.items():
        if name not in comparison.rows:
            table.rows.append(_not_run(row.label, table))
            continue
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


def by_pass(experiment: Experiment, comparison: Comparison) -> list[Table]:
    """For each figure of the `long` part: every pass of every row, mean over seeds, with the published
    figures in the line below.
    """
    if (long := experiment.contents.long) is None:
        return []
    tables = []
    for name, figure in long.by_pass.items():
        numbers = range(1, long.passes + 1)
        table = Table(figure.label, [figure.label, *(f"pass {number}" for number in numbers)])
        for row, about in experiment.contents.rows.items():
            if row not in comparison.rows:
                table.rows.append(_not_run(about.label, table))
            elif values := comparison.rows[row]["by_pass"].get(name):
                table.rows.append([about.label, *(number(value, 2) for value in values)])
            if published := figure.published.get(row):
                cells = [number(published.get(n), 2) if n in published else "" for n in numbers]
                table.rows.append([f"{about.label}, published", *cells])
        tables.append(table)
    return tables


def beside_short(experiment: Experiment, comparison: Comparison, simulator: str, short_runs: dict) -> Table:
    """Every row's means after long and after short training, the latter from `short_runs`, the JSON document
    of the experiment's own page; and the published figures.
    """
    contents = experiment.contents
    published = _published(experiment, simulator)
    table = Table(f"Long, short and published, judged by {simulator}", [simulator])
    for metric in contents.metrics:
        table.columns.extend([short(metric), "short run", *(["published"] if metric in published else [])])
    for name, row in contents.rows.items():
        cells = []
        for metric in contents.metrics:
            places = comparison.rows.get(name), short_runs["rows"].get(name)
            means = [own["metrics"].get(simulator, {}).get(metric) if own else None for own in places]
            shown = [number(own and own["mean"], decimals_of(metric)) for own in means]
            cells += [shown[0] if name in comparison.rows else NOT_RUN, shown[1]]
            if metric in published:
                cells.append(number(row.published.get(metric), decimals_of(metric)))
        table.rows.append([row.label, *cells])
    return table


def best_of(experiment: Experiment, comparison: Comparison, simulator: str) -> list[Table]:
    """For each metric the best of K sampled paths of every row, mean over prompts and seeds, bold where it
    differs clearly from the reference's, and the K from which on the reference is not the worse one.
    """
    contents, tables = experiment.contents, []
    reference = contents.rows[contents.reference].label
    for metric in contents.metrics:
        own = {row: figures["best_of"][simulator].get(metric) for row, figures in comparison.rows.items()}
        if not any(own.values()):
            continue
        columns = [f"Best {short(metric)} of", *map(str, contents.best_of), f"{reference} not worse from"]
        table = Table(f"Best {short(metric)} of K sampled paths, judged by {simulator}", columns)
        for row, about in contents.rows.items():
            if (found := own.get(row)) is None:
                table.rows.append(_not_run(about.label, table))
                continue
            means = [number(value["mean"], decimals_of(metric)) for value in found["values"]]
            if "differences" not in found:
                table.rows.append([about.label, *means, ""])
                continue
            cells = [
                f"**{mean}**" if paired["clear"] else mean
                for mean, paired in zip(means, found["differences"], strict=True)
            ]
            crossing = found["crossing"]
            until = f"none up to {contents.best_of[-1]}"
            table.rows.append([about.label, *cells, until if crossing is None else f"K = {crossing}"])
        tables.append(table)
    return tables


def as_markdown(table: Table) -> str:
    """`table` as a Markdown table, without its caption."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def short(metric: str) -> str:
    """The metric's name without what it stands for."""
    return label(metric).partition(",")[0]


def _published(experiment: Experiment, simulator: str) -> set[str]:
    """The metrics with published figures under `simulator`."""
    rows = experiment.contents.rows.values() if simulator == PUBLISHED_SIMULATOR else ()
    return {metric for row in rows for metric in row.published}


def _not_run(name: str, table: Table) -> list[str]:
    """The line of a row that has not run."""
    return [name, NOT_RUN, *[MISSING] * (len(table.columns) - 2)]
