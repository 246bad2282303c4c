"""The report of one data set as one self-contained HTML page: the same bytes for the same inputs, no script,
nothing from elsewhere.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from prorl.config.report import Report
from prorl.metrics.registry import headline
from prorl.reports import ranking, tables, trust
from prorl.reports.figures import bar_plot, interval_plot, line_plot, point_plot
from prorl.reports.findings import findings
from prorl.reports.guides_page import rules
from prorl.reports.inputs import ReportInputs, example_metrics
from prorl.reports.published import DIFFERENCES, NEAREST
from prorl.reports.ranking import Benchmark

STAGES = ("simulator", "pretrain", "finetune")  # those with training curves, in the order of the data's flow


@dataclass(frozen=True)
class ExamplePath:
    """A greedy path of one guide: titles of its items, and its metrics as text."""

    guide: str
    titles: list[str]
    metrics: str


@dataclass(frozen=True)
class Example:
    """The greedy paths towards one target.

    The user's history stays out: the page is published with the code.
    """

    prompt: int
    target: str
    paths: list[ExamplePath]


def render(inputs: ReportInputs, settings: Report, benchmark: Benchmark) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("prorl.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    nearest = NEAREST.get(inputs.dataset)
    return environment.get_template("page.html.jinja").render(
        dataset=inputs.dataset,
        notes=notes(inputs),
        rules=rules(benchmark.decoding),
        findings=findings(inputs, benchmark),
        ranking=[
            ranking.ranking(inputs, benchmark),
            *ranking.by_other_judges(inputs, benchmark),
            *ranking.against_own(inputs, benchmark),
        ],
        ranking_plots=[*length_plots(inputs, benchmark), tried_plot(inputs, benchmark)],
        results=tables.results(inputs),
        result_plots=result_plots(inputs),
        other_ways=tables.other_ways(inputs),
        length_plot=length_plot(inputs.greedy),
        examples=examples(inputs, settings.example_paths),
        judge=next(iter(inputs.simulators)),
        gates=trust.gates(inputs.gate),
        passed=inputs.gate["passed"],
        agreement=trust.agreement(inputs.gate),
        simulators=tables.simulators(inputs),
        validation=trust.validation(inputs.validated),
        reliability=trust.reliability(inputs.validated),
        simulator_notes=_simulator_notes(inputs),
        training=tables.training(inputs),
        curve_plots=curve_plots(inputs),
        semantic_ids=tables.semantic_ids(inputs),
        data=tables.data(inputs),
        published=tables.published(nearest) if nearest else None,
        differences=DIFFERENCES,
    )


def notes(inputs: ReportInputs) -> list[str]:
    """What to know before the figures: how items were embedded, and what pre-training was shown."""
    embedding = inputs.quantize["embedding_model"]
    search = inputs.pretrain["search"]
    found = [
        "Item vectors are lsa: TF-IDF and truncated SVD of the items' profile text, not the vectors of a "
        "language model."
        if embedding == "lsa"
        else f"Item vectors: {embedding}."
    ]
    if search and search["paths"]:
        seen = "each once" if search["fresh"] else "drawn again and again"
        found.append(
            f"Of what pre-training was shown, {search['share']:.0%} are paths found by search on a "
            f"simulator: {search['paths']:,} of them, {seen}; the published recipe has none. For validation "
            f"users such paths have a mean IoI of {search['ioi']:.3f}, IoR {search['ior']:.1f}, CTR "
            f"{search['ctr']:.3f} and {search['length']:.2f} items."
        )
    else:
        found.append("Pre-training was shown mined paths alone, as in the published recipe.")
    stopped = {
        "flattened": "because validation loss had flattened",
        "max_steps": "at its largest allowed number of steps",
    }
    pretrain, finetune = inputs.pretrain, inputs.finetune
    found.append(
        f"Pre-training stopped after {pretrain['steps']:,} steps {stopped[pretrain['stopped']]}; the "
        f"checkpoint of step {pretrain['best_step']:,} is used. Of {finetune['steps']:,} steps of "
        f"fine-tuning, step {finetune['best_step']:,} is used."
    )
    return found


def _simulator_notes(inputs: ReportInputs) -> list[str]:
    return [
        f"{name}: {_epochs(values)}; "
        f"{values['untouched_items']:,} of {values['n_items']:,} items touched by no training user."
        for name, values in inputs.simulators.items()
    ]


def _epochs(values: dict[str, Any]) -> str:
    """How long a simulator was trained, where it says so."""
    if "epochs" not in values:
        return "fitted by a class of one's own"
    return f"{values['epochs']} epochs, the best on validation users was epoch {values['best_epoch']}"


def examples(inputs: ReportInputs, n: int) -> list[Example]:
    """The greedy paths of all guides for `n` prompts at equal distances among the test prompts, metrics
    under the first simulator of params.yaml.
    """
    first = inputs.greedy.simulator == next(iter(inputs.simulators))
    judged = pd.DataFrame(inputs.greedy[first]).sort_values(by=["prompt", "policy"])
    prompts = judged.prompt.unique()
    chosen = (
        prompts[np.linspace(0, len(prompts) - 1, min(n, len(prompts))).astype(int)] if len(prompts) else []
    )
    found = []
    for prompt in chosen:
        rows = pd.DataFrame(judged[judged.prompt == prompt]).to_dict(orient="records")
        paths = [
            ExamplePath(
                row["policy"],
                [_title(inputs, item) for item in row["path"]],
                ", ".join(
                    f"{tables.label(name).split(',')[0]} {row[name]:.{tables.decimals_of(name)}f}"
                    for name in example_metrics()
                ),
            )
            for row in rows
        ]
        found.append(Example(int(prompt), _title(inputs, rows[0]["target"]), paths))
    return found


def _title(inputs: ReportInputs, item: int) -> str:
    return inputs.titles[int(item)] or f"item {item}"


def result_plots(inputs: ReportInputs) -> list[Markup]:
    """The headline metrics of every guide under every simulator, what each reaches in interest for what it
    keeps in acceptance, and the best IoI of K paths of those that sample.
    """
    guides, judges = list(inputs.evaluation), tables.judges(inputs)
    plots = []
    for metric in headline():
        values = {
            guide: [inputs.evaluation[guide][judge][metric] for judge in judges]
            for guide in guides
            if all(metric in inputs.evaluation[guide][judge] for judge in judges)
        }
        series = {
            guide: [(value["mean"], value["low"], value["high"]) for value in row]
            for guide, row in values.items()
        }
        if series:
            plots.append(interval_plot(f"Greedy {tables.label(metric)}", judges, series))
    for judge in judges:
        of_guides = {guide: inputs.evaluation[guide][judge] for guide in guides}
        points = {guide: (row["ctr"]["mean"], row["ioi"]["mean"]) for guide, row in of_guides.items()}
        lines = {
            guide: [(row[judge]["ctr"], row[judge]["ioi"]) for row in rows]
            for guide, rows in inputs.frontier.items()
        }
        plots.append(point_plot(f"Interest against acceptance, {judge}", "CTR", "IoI", points, lines))
    for judge in judges:
        best = {guide: tables.numbered(inputs.evaluation[guide][judge], "rollout") for guide in guides}
        series = {
            guide: ([k for k, _ in values], [value["ioi"]["mean"] for _, value in values])
            for guide, values in best.items()
            if values
        }
        if series:
            plots.append(line_plot(f"Best IoI of K sampled paths, {judge}", "K", series))
    return plots


def length_plots(inputs: ReportInputs, benchmark: Benchmark) -> list[Markup]:
    """What the first items of every guide's greedy paths have reached, under the main judge."""
    main = benchmark.selection.simulator
    plots = []
    for metric in headline():
        series = {
            guide: ([row["length"] for row in own[main]], [row[metric] for row in own[main]])
            for guide, own in inputs.lengths.items()
        }
        plots.append(line_plot(f"{tables.label(metric)} by path length, {main}", "items", series))
    return plots


def tried_plot(inputs: ReportInputs, benchmark: Benchmark) -> Markup:
    """What guides reach on validation prompts under the main judge, and with the settings that were tried."""
    main = benchmark.selection.simulator
    points = {
        guide: (judged[main]["ctr"]["mean"], judged[main]["ioi"]["mean"])
        for guide, judged in inputs.validation.items()
    }
    lines = {
        guide: sorted((own["metrics"]["ctr"], own["metrics"]["ioi"]) for own in record["tried"])
        for guide, record in inputs.guides.items()
        if record["tried"]
    }
    title = f"Interest against acceptance of all settings tried, validation prompts, {main}"
    return point_plot(title, "CTR", "IoI", points, lines)


def length_plot(greedy: pd.DataFrame) -> Markup:
    """Shares of greedy paths by length; a path is the same under every simulator, so one simulator's rows are
    counted.
    """
    judged = greedy[greedy.simulator == greedy.simulator.min()]
    lengths = {str(guide): Counter(map(len, rows.path)) for guide, rows in judged.groupby("policy")}
    positions = range(max(max(counts) for counts in lengths.values()) + 1)
    shares = {
        guide: [counts[length] / counts.total() for length in positions] for guide, counts in lengths.items()
    }
    return bar_plot("Length of greedy paths", "items", positions, shares)


def curve_plots(inputs: ReportInputs) -> list[Markup]:
    """One plot for each quantity of each stage: training and validation, and all simulators, in the same
    plot.
    """
    plots: dict[tuple[str, str], dict[str, tuple[Sequence[float], Sequence[float]]]] = {}
    for curve in inputs.curves:
        stage, _, simulator = curve.stage.partition("/")
        part, _, quantity = curve.name.rpartition("/")
        plots.setdefault((stage, quantity), {})[" ".join(filter(None, (simulator, part)))] = (
            curve.steps,
            curve.values,
        )
    in_order = sorted(plots.items(), key=lambda plot: (STAGES.index(plot[0][0]), plot[0]))
    return [line_plot(f"{stage}: {quantity}", "step", series) for (stage, quantity), series in in_order]
