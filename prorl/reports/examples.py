"""Example paths, chosen by rule: where `prorl` gains most interest, where about half of all gain more, where
it gains least, and at random.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prorl.config.report import Examples
from prorl.reports import tables
from prorl.reports.inputs import ReportInputs, example_metrics
from prorl.reports.plots import Plot, line_plot
from prorl.reports.ranking import OWN, Benchmark, ranked
from prorl.runtime import derived_seed

START = "pretrained"
LEAST = -69.0  # log P of 1e-30: a logarithmic axis has no 0
RULES = {  # what a reader is told of each rule
    "best": "the interest gained is the highest",
    "median": "half of all prompts gain more",
    "worst": "the interest gained is the lowest",
    "random": "drawn at random",
}


@dataclass(frozen=True)
class ExamplePath:
    """A greedy path of one guide: titles of its items, and its metrics as text."""

    guide: str
    titles: list[str]
    metrics: str


@dataclass(frozen=True)
class Example:
    """The greedy paths towards one target: `steps` of `prorl`'s, all guides' `paths`, and how the target's
    probability and rank move along those of a few (`plots`).

    The user's history stays out: the page is published with the code.
    """

    prompt: int
    rule: str
    target: str
    steps: tables.Table
    paths: list[ExamplePath]
    others: list[ExamplePath]
    plots: list[Plot]


def examples(inputs: ReportInputs, settings: Examples, benchmark: Benchmark, seed: int) -> list[Example]:
    """The examples that `settings` ask for, judged by the main judge; random ones are drawn with `seed`.

    No prompt is shown twice: a rule that comes later has what is left.
    """
    judge = benchmark.selection.simulator
    judged = pd.DataFrame(inputs.greedy[inputs.greedy.simulator == judge]).set_index(["prompt", "policy"])
    own = judged.xs(OWN, level="policy")
    shown = drawn(inputs, benchmark)
    return [
        _example(inputs, judged.loc[prompt], int(prompt), rule, shown)
        for rule, prompt in chosen(own.ioi, settings, seed)
    ]


def chosen(ioi: pd.Series, settings: Examples, seed: int) -> Iterator[tuple[str, int]]:
    """(rule, prompt) of the examples, from each prompt's IoI; of prompts that are level the first comes
    first.
    """
    left = [int(prompt) for prompt in ioi.sort_index().sort_values(ascending=False, kind="stable").index]
    for rule, n in settings:
        n = min(n, len(left))
        if rule == "best":
            taken = left[:n]
        elif rule == "worst":
            taken = left[::-1][:n]
        elif rule == "median":
            first = max(0, (len(left) - n) // 2)
            taken = left[first : first + n]
        else:
            rng = np.random.default_rng(derived_seed(seed, "examples"))
            taken = rng.choice(sorted(left), n, replace=False).tolist()
        left = [prompt for prompt in left if prompt not in taken]
        yield from ((rule, prompt) for prompt in taken)


def drawn(inputs: ReportInputs, benchmark: Benchmark) -> list[str]:
    """The guides whose steps are drawn: `prorl`, what it started from, and the best of the others."""
    first, _ = ranked(inputs, benchmark)
    rivals = [guide for guide in first if guide not in (OWN, START)]
    return [OWN, *(guide for guide in [START, *rivals[:1]] if guide in inputs.evaluation)]


def _example(inputs: ReportInputs, rows: pd.DataFrame, prompt: int, rule: str, shown: list[str]) -> Example:
    found: dict[str, dict[str, Any]] = {str(guide): row.to_dict() for guide, row in rows.iterrows()}
    target = _title(inputs, found[OWN]["target"])
    paths = {
        guide: ExamplePath(guide, [_title(inputs, item) for item in row["path"]], _metrics(row))
        for guide, row in found.items()
    }
    return Example(
        prompt=prompt,
        rule=rule,
        target=target,
        steps=_steps(found[OWN], paths[OWN].titles),
        paths=[paths[guide] for guide in shown],
        others=[path for guide, path in paths.items() if guide not in shown],
        plots=_plots({guide: found[guide] for guide in shown}, prompt),
    )


def _steps(row: dict[str, Any], titles: list[str]) -> tables.Table:
    """What `prorl` shows, item by item, and where the target stands then."""
    table = tables.Table(f"The path of {OWN}, step by step", ["shown", "target's rank", "its probability"])
    for title, rank, log_prob in zip(
        ["(nothing yet)", *titles], row["steps/rank"], row["steps/log_prob"], strict=True
    ):
        table.rows.append([title, tables.number(int(rank)), percent(float(np.exp(log_prob)))])
    return table


def percent(share: float) -> str:
    """`share` in percent, to two digits that count, and no power of ten however small it is."""
    decimals = 1 if share >= 0.1 else max(0, 1 - math.floor(math.log10(100 * share))) if share > 0 else 0
    return f"{100 * share:.{decimals}f}%"


def _plots(rows: dict[str, dict[str, Any]], prompt: int) -> list[Plot]:
    def series(name: str) -> dict[str, tuple[list[float], list[float]]]:
        return {
            guide: (list(range(len(row[name]))), [float(value) for value in row[name]])
            for guide, row in rows.items()
        }

    probability = {
        guide: (x, np.exp(np.maximum(log_prob, LEAST)).tolist())
        for guide, (x, log_prob) in series("steps/log_prob").items()
    }
    return [
        line_plot(
            f"Rank of the target, prompt {prompt}",
            "items shown",
            series("steps/rank"),
            y_scale="ranks",
        ),
        line_plot(
            f"Probability of the target, prompt {prompt}",
            "items shown",
            probability,
            y_scale="log",
            y_format="~p",
        ),
    ]


def _metrics(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{tables.label(name).split(',')[0]} {row[name]:.{tables.decimals_of(name)}f}"
        for name in example_metrics()
    )


def _title(inputs: ReportInputs, item: int) -> str:
    return inputs.titles[int(item)] or f"item {item}"
