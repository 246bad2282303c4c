"""Which plots the page has: from the stages' metrics to series of numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from prorl.metrics.registry import METRICS, headline
from prorl.reports import tables
from prorl.reports.inputs import Curve, ReportInputs
from prorl.reports.plots import Plot, interval_plot, line_plot, point_plot, share_plot
from prorl.reports.ranking import Benchmark, ranked

STAGES = ("finetune", "pretrain", "simulator")  # those with training curves, the most telling first
STAGE_NAMES = {"finetune": "fine-tuning", "pretrain": "pre-training", "simulator": "simulators"}
MAIN_CURVES = ("ioi", "ior", "ctr", "coherence", "length", "kl", "entropy", "distinct")
CURVE_NAMES = {
    "kl": "KL divergence from the start",
    "entropy": "Entropy of choices",
    "loss": "Loss",
    "loss_search": "Loss on searched paths",
    "length_std": "Standard deviation of length",
    "stopped": "Paths that stopped by themselves",
}


def in_ranking(inputs: ReportInputs, benchmark: Benchmark) -> list[str]:
    """All guides, the best first, those that steer by the main judge last."""
    first, steered = ranked(inputs, benchmark)
    return [*first, *steered]


def frontier_plots(inputs: ReportInputs, benchmark: Benchmark) -> list[Plot]:
    """For each judge what every guide reaches in interest for what it keeps in acceptance, with the line of
    what each that can be told how much acceptance counts reaches then.
    """
    plots = []
    for judge in tables.judges(inputs):
        of_guides = {guide: inputs.evaluation[guide][judge] for guide in in_ranking(inputs, benchmark)}
        points = {guide: (row["ctr"]["mean"], row["ioi"]["mean"]) for guide, row in of_guides.items()}
        lines = {
            guide: [(row[judge]["ctr"], row[judge]["ioi"]) for row in rows]
            for guide, rows in inputs.frontier.items()
        }
        title = f"Interest against acceptance, {judge}"
        plots.append(point_plot(title, "CTR", "IoI", points, lines))
        if lines:
            title = f"{title}: about the lines alone"
            plots.append(point_plot(title, "CTR", "IoI", points, lines, near_lines=True))
    return plots


def result_plots(inputs: ReportInputs, benchmark: Benchmark) -> list[Plot]:
    """The headline metrics of every guide under every simulator, and how long paths are."""
    guides, judges = in_ranking(inputs, benchmark), tables.judges(inputs)
    plots = []
    for metric in headline():
        series = {
            guide: [
                (value["mean"], value["low"], value["high"])
                for judge in judges
                for value in [inputs.evaluation[guide][judge][metric]]
            ]
            for guide in guides
            if all(metric in inputs.evaluation[guide][judge] for judge in judges)
        }
        if series:
            plots.append(interval_plot(tables.label(metric), judges, series))
    return [*plots, length_plot(inputs.greedy, guides)]


def best_of_plots(inputs: ReportInputs) -> list[Plot]:
    """The best IoI of K sampled paths, of the guides that sample."""
    plots = []
    for judge in tables.judges(inputs):
        best = {
            guide: tables.numbered(inputs.evaluation[guide][judge], "rollout") for guide in inputs.evaluation
        }
        series = {
            guide: ([k for k, _ in values], [value["ioi"]["mean"] for _, value in values])
            for guide, values in best.items()
            if values
        }
        if series:
            plots.append(line_plot(f"Best IoI of K sampled paths, {judge}", "K", series))
    return plots


def by_length_plots(inputs: ReportInputs, benchmark: Benchmark) -> list[Plot]:
    """What the first items of every guide's greedy paths have reached, under the main judge."""
    main = benchmark.selection.simulator
    plots = []
    for metric in headline():
        series = {
            guide: ([row["length"] for row in own], [row[metric] for row in own])
            for guide in in_ranking(inputs, benchmark)
            for own in [inputs.lengths[guide][main]]
        }
        plots.append(line_plot(f"{tables.label(metric)} by path length, {main}", "items", series))
    return plots


def tried_plot(inputs: ReportInputs, benchmark: Benchmark) -> Plot:
    """What guides reach on validation prompts under the main judge, and with the settings that were tried."""
    main = benchmark.selection.simulator
    points = {
        guide: (judged[main]["ctr"]["mean"], judged[main]["ioi"]["mean"])
        for guide in in_ranking(inputs, benchmark)
        for judged in [inputs.validation[guide]]
    }
    lines = {
        guide: sorted((own["metrics"]["ctr"], own["metrics"]["ioi"]) for own in record["tried"])
        for guide, record in inputs.guides.items()
        if record["tried"]
    }
    title = f"Interest against acceptance of all settings tried, validation prompts, {main}"
    return point_plot(title, "CTR", "IoI", points, lines)


def length_plot(greedy: pd.DataFrame, guides: Sequence[str]) -> Plot:
    """Shares of greedy paths by length; a path is the same under every simulator, so one simulator's rows are
    counted.
    """
    judged = greedy[greedy.simulator == greedy.simulator.min()]
    found = {str(guide): Counter(map(len, rows.path)) for guide, rows in judged.groupby("policy")}
    lengths = {guide: found[guide] for guide in guides}
    there = {length for counts in lengths.values() for length in counts}
    positions = range(min(there), max(there) + 1)
    shares = {
        guide: [counts[length] / counts.total() for length in positions] for guide, counts in lengths.items()
    }
    return share_plot("Length of greedy paths, share of prompts", "items", positions, shares)


def curve_plots(curves: Sequence[Curve]) -> tuple[list[Plot], list[Plot]]:
    """One plot for each quantity of each stage, training and validation and all simulators in the same one:
    those of fine-tuning that tell most, and all others.
    """
    plots: dict[tuple[str, str], dict[str, tuple[Sequence[float], Sequence[float]]]] = {}
    for curve in curves:
        stage, _, simulator = curve.stage.partition("/")
        part, _, quantity = curve.name.rpartition("/")
        plots.setdefault((stage, quantity), {})[" ".join(filter(None, (simulator, part)))] = (
            curve.steps,
            curve.values,
        )
    main = [("finetune", quantity) for quantity in MAIN_CURVES if ("finetune", quantity) in plots]
    rest = sorted(set(plots) - set(main), key=lambda plot: (STAGES.index(plot[0]), plot))
    first, others = ([_curve_plot(*key, plots[key]) for key in keys] for keys in (main, rest))
    return first, others


def _curve_plot(stage: str, quantity: str, series: dict) -> Plot:
    known = METRICS[quantity].label if quantity in METRICS else quantity
    name = CURVE_NAMES.get(quantity, known)
    return line_plot(f"{name}, {STAGE_NAMES[stage]}", "step", series)


def codebook_plot(inputs: ReportInputs) -> Plot:
    """How many items each code of each level of the quantiser has, the most used first.

    A final code, which tells equal IDs apart, is of no level.
    """
    series = {}
    levels = sum(key.startswith("level_") for key in inputs.quantize)
    for level, own in enumerate(inputs.codes.T[:levels], start=1):
        counts = np.sort(np.unique(own, return_counts=True)[1])[::-1]
        series[f"level {level}"] = (range(1, len(counts) + 1), counts.tolist())
    return line_plot(
        "Items per code, the most used codes first", "codes in use", series, y_label="items", steps=True
    )
