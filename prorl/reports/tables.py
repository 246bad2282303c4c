"""The report's tables: rows of text from the stages' metrics."""

from dataclasses import dataclass, field
from typing import Any

from prorl.metrics.registry import decimals_of, in_order, label
from prorl.reports.inputs import ReportInputs
from prorl.reports.published import PUBLISHED

MISSING = "-"
COST = "Simulator states per prompt"
STATES = "states"  # beside a guide's results under each simulator: what its paths cost


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column names the row, the others are numbers."""

    caption: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)


def number(value: float | None, decimals: int = 3) -> str:
    """`value` with `decimals`, thousands apart; whole numbers without."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{decimals}f}"


def with_interval(value: dict[str, float | None], decimals: int = 3) -> str:
    """`mean [low, high]`, or the mean alone where there is no interval."""
    if value["low"] is None or value["high"] is None:
        return number(value["mean"], decimals)
    mean, low, high = (number(value[key], decimals) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def judges(inputs: ReportInputs) -> list[str]:
    """The simulators that judged every guide, in the order of params.yaml."""
    judged = next(iter(inputs.evaluation.values()))
    return [name for name in inputs.simulators if name in judged]


def numbered(judged: dict[str, Any], way: str) -> list[tuple[int, dict[str, Any]]]:
    """(K, metrics) of every `way@K`, by growing K."""
    return sorted(
        (int(name.removeprefix(f"{way}@")), values)
        for name, values in judged.items()
        if name.startswith(f"{way}@")
    )


def results(inputs: ReportInputs) -> list[Table]:
    """For each simulator: every greedy metric of every guide with its interval, and what the paths cost,
    where a guide says so; then the paired differences.
    """
    tables = []
    costs = {guide: judged.get(STATES) for guide, judged in inputs.evaluation.items()}
    for simulator in judges(inputs):
        values = {guide: _greedy(judged[simulator]) for guide, judged in inputs.evaluation.items()}
        metrics = in_order({metric for own in values.values() for metric in own})
        cost = [COST] if any(own is not None for own in costs.values()) else []
        table = Table(f"Greedy paths, judged by {simulator}", ["", *map(label, metrics), *cost])
        for guide, own in values.items():
            cells = [cell for metric in metrics for cell in _cells([own], metric)]
            table.rows.append([guide, *cells, *([number(costs[guide], 1)] if cost else [])])
        differences = {name: pair[simulator] for name, pair in inputs.comparison.items()}
        metrics = in_order({metric for own in differences.values() for metric in own})
        caption = f"Differences prompt by prompt, judged by {simulator}"
        paired = Table(caption, ["", *map(label, metrics)])
        for name, own in differences.items():
            paired.rows.append([name, *(cell for metric in metrics for cell in _cells([own], metric))])
        tables += [table, paired]
    return tables


WAYS = {  # a way to decode -> what its table shows, and what its number is
    "rollout": ("Best of K sampled paths", "K"),
    "beam": ("Best of the K paths of a beam search", "K"),
    "max": ("Best of the K paths of the released beam search, which keeps K paths under way", "K"),
    "target": ("Greedy paths towards targets at a percentile of the first simulator's ranking", "percentile"),
}


def other_ways(inputs: ReportInputs) -> list[Table]:
    """For each way but greedy paths towards random targets, where there is any, and each simulator: the
    metrics of every guide that has the way.

    Of K paths the best counts, for each metric by itself.
    """
    counted = [
        _numbered_table(inputs, way, simulator)
        for way in WAYS
        for simulator in judges(inputs)
        if _has(inputs, way, simulator)
    ]
    return [*counted, *refusals(inputs)]


REFUSED = {"ioi": "IoI", "ctr": "CTR", "stay": "items shown"}  # of paths shown to users who refuse items


def refusals(inputs: ReportInputs) -> list[Table]:
    """For each simulator: every guide's greedy paths where an item enters the history only if accepted; none
    where they were not judged so.
    """
    tables = []
    for simulator in judges(inputs):
        rows = {guide: judged[simulator].get("rejection") for guide, judged in inputs.evaluation.items()}
        found = {guide: own for guide, own in rows.items() if own}
        metrics = [metric for metric in REFUSED if any(metric in own for own in found.values())]
        if found:
            caption = f"Greedy paths shown to users who refuse items, as {simulator} accepts them"
            table = Table(caption, ["", *(REFUSED[metric] for metric in metrics)])
            for guide, own in found.items():
                table.rows.append([guide, *(with_interval(own[metric], 3) for metric in metrics)])
            tables.append(table)
    return tables


def _has(inputs: ReportInputs, way: str, simulator: str) -> bool:
    return any(numbered(judged[simulator], way) for judged in inputs.evaluation.values())


def _numbered_table(inputs: ReportInputs, way: str, simulator: str) -> Table:
    caption, counted = WAYS[way]
    rows = {
        (guide, k): values
        for guide, judged in inputs.evaluation.items()
        for k, values in numbered(judged[simulator], way)
    }
    metrics = in_order({metric for values in rows.values() for metric in values})
    table = Table(f"{caption}, judged by {simulator}", ["", *(label(metric) for metric in metrics)])
    for (guide, k), values in rows.items():
        table.rows.append(
            [
                f"{guide}, {counted} = {k}",
                *(cell for metric in metrics for cell in _cells([values], metric)),
            ]
        )
    return table


def simulators(inputs: ReportInputs) -> Table:
    """Next-item metrics of every simulator on validation and test users, beside popularity's."""
    metrics = ("mrr@10", "recall@10", "ndcg@10")
    table = Table(
        "Simulators against popularity",
        ["", *(f"{split} {metric}" for split in ("validation", "test") for metric in metrics)],
    )
    rows = {**inputs.simulators, "popularity": next(iter(inputs.simulators.values()))["popularity"]}
    for name, values in rows.items():
        table.rows.append(
            [
                name,
                *(number(values[split][metric], 4) for split in ("validation", "test") for metric in metrics),
            ]
        )
    return table


def data(inputs: ReportInputs) -> list[Table]:
    """What the raw logs held, what each filter took, and what was mined."""
    prepare, mine = inputs.prepare, inputs.mine
    counts = Table("From raw logs to users in splits", ["", "users", "items", "interactions"])
    rows = {
        "raw": prepare["raw"],
        **{_words(name): taken for name, taken in prepare["dropped"].items()},
        "kept": prepare["kept"],
    }
    rows |= {f"{split} users": values for split, values in prepare["split"].items()}
    for name, values in rows.items():
        counts.rows.append([name, *(number(values.get(column)) for column in counts.columns[1:])])
    instances = Table(
        "Instances", ["", "count"], [[split, number(count)] for split, count in mine["instances"].items()]
    )
    instances.rows.extend(
        [_words(key), number(mine[key])] for key in ("runs_too_short", "runs_too_long", "runs_open_at_end")
    )
    return [counts, instances]


def semantic_ids(inputs: ReportInputs) -> Table:
    """How good the codebooks are, one row per quantity."""
    return Table(
        "Semantic IDs", ["", "value"], [[_words(key), number(value)] for key, value in _flat(inputs.quantize)]
    )


def training(inputs: ReportInputs) -> list[Table]:
    """Greedy metrics on validation prompts: after pre-training, where fine-tuning began, and its chosen
    checkpoint; and the centering.
    """
    after = {
        "pre-training": inputs.pretrain["validation"],
        "start of fine-tuning": inputs.finetune["validation_initial"],
        "fine-tuning": inputs.finetune["validation"],
    }
    table = Table("Greedy metrics on validation prompts", ["", *after])
    for metric in in_order({metric for values in after.values() for metric in values}):
        table.rows.append(
            [label(metric), *(number(values.get(metric), decimals_of(metric)) for values in after.values())]
        )
    centering = Table("Step rewards in the steps of centering", ["", "mean", "standard deviation"])
    for reward, values in inputs.finetune["centering"].items():
        centering.rows.append([label(reward), number(values["mean"], 4), number(values["std"], 4)])
    return [table, centering]


def published(name: str) -> Table:
    """The published figures on the data set `name`."""
    table = Table(
        f"Published on {name}; SASRec as simulator, random targets, greedy paths",
        ["", "IoI", "IoR", "CTR", "Coherence"],
    )
    for row in PUBLISHED[name]:
        table.rows.append(
            [row.method, number(row.ioi), f"{row.ior:,}", number(row.ctr), number(row.coherence)]
        )
    return table


def _cells(rows: list[dict[str, Any]], metric: str) -> list[str]:
    """`metric` of each of `rows` with its interval, where it has it."""
    return [
        with_interval(values[metric], decimals_of(metric)) if metric in values else MISSING for values in rows
    ]


def _greedy(judged: dict[str, Any]) -> dict[str, Any]:
    return {metric: value for metric, value in judged.items() if "mean" in value}


def _words(key: str) -> str:
    return key.replace("_", " ")


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of a nested mapping, their keys joined by commas."""
    leaves = []
    for key, value in values.items():
        name = f"{prefix}, {key}" if prefix else key
        leaves += _flat(value, name) if isinstance(value, dict) else [(name, value)]
    return leaves
