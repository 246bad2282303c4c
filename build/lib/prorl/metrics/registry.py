"""METRICS: every metric of guidance paths. An entry is all there is to add: the judge computes it, and the
tables, plots, `finetune.select_on` and comparisons know its name.

Shape key: `p` paths, `h` history, `t` path position, `n` items, `w` words of attribute bits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prorl.metrics import path_metrics


@dataclass(frozen=True)
class JudgedPaths:
    """All that is known of paths under one simulator; a row is a path.

    items [p, t], with -1 for a non-item and 0 behind the end; history [p, h], user [p] and target [p] of each
    path's prompt; attribute_words [n+1, w], the items' attributes as bits.
    By the simulator: log_prob [p, 2] and rank [p, 2] of the target before and after the path, and acceptance
    [p, t] of its items. Diversity compares `n_pairs` pairs of paths, drawn with `seed`.
    """

    items: np.ndarray
    history: np.ndarray
    user: np.ndarray
    target: np.ndarray
    attribute_words: np.ndarray
    log_prob: np.ndarray
    rank: np.ndarray
    acceptance: np.ndarray
    n_pairs: int
    seed: int


@dataclass(frozen=True)
class Metric:
    """One metric: `function` gives a value per path, [p].

    `label` is what a reader sees, and `decimals` how exactly; `better` is None where neither way is better.
    A metric that is not `simulated` does not depend on the simulator, and is computed once for all of them.
    A `headline` metric is plotted, and also judged as the best of several paths.
    """

    name: str
    function: Callable[[JudgedPaths], np.ndarray]
    label: str
    decimals: int = 3
    better: Literal["higher", "lower"] | None = None
    simulated: bool = False
    headline: bool = False

    def __post_init__(self):
        if self.headline and self.better is None:
            raise ValueError(f"metric {self.name}: headline: got True, allowed: False where better is None")

    def best(self, values: np.ndarray) -> np.ndarray:
        """The best [..] of each row of `values` [.., m]."""
        return values.min(-1) if self.better == "lower" else values.max(-1)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "ioi",
            lambda paths: path_metrics.increment_of_interest(paths.log_prob),
            "IoI, increment of interest",
            better="higher",
            simulated=True,
            headline=True,
        ),
        Metric(
            "ior",
            lambda paths: path_metrics.increment_of_rank(paths.rank).astype(np.float64),
            "IoR, increment of rank",
            decimals=1,
            better="higher",
            simulated=True,
            headline=True,
        ),
        Metric(
            "ctr",
            lambda paths: path_metrics.feasibility(paths.acceptance, paths.items),
            "CTR, feasibility",
            better="higher",
            simulated=True,
            headline=True,
        ),
        Metric(
            "coherence",
            lambda paths: path_metrics.coherence(paths.items, paths.target, paths.attribute_words),
            "Coherence",
            better="higher",
            headline=True,
        ),
        Metric("error", lambda paths: path_metrics.error(paths.items), "Error", better="lower"),
        Metric("length", lambda paths: path_metrics.length(paths.items), "Length", decimals=2),
        Metric(
            "distinct",
            lambda paths: path_metrics.distinct(paths.items),
            "Distinct paths / prompts",
            better="higher",
        ),
        Metric(
            "diversity",
            lambda paths: path_metrics.diversity(paths.items, paths.user, paths.n_pairs, paths.seed),
            "Diversity",
            better="higher",
        ),
        Metric(
            "repeats",
            lambda paths: path_metrics.repeats(paths.items),
            "Repeats / items of the path",
            better="lower",
        ),
        Metric(
            "target_in_path",
            lambda paths: path_metrics.target_in_path(paths.items, paths.target),
            "Paths with the target",
        ),
        Metric(
            "history_in_path",
            lambda paths: path_metrics.history_in_path(paths.items, paths.history),
            "Items of the history / items of the path",
            better="lower",
        ),
    )
}


def headline() -> list[str]:
    """The metrics that are plotted, and that the best of several paths is taken by."""
    return [name for name, metric in METRICS.items() if metric.headline]


def label(metric: str) -> str:
    """What a reader sees for `metric`; what is none keeps its name."""
    return METRICS[metric].label if metric in METRICS else metric


def decimals_of(metric: str) -> int:
    """Decimals that a value of `metric` is shown with."""
    return METRICS[metric].decimals if metric in METRICS else 3


def in_order(metrics: Iterable[str]) -> list[str]:
    """`metrics` in the order of `METRICS`, then any others by name."""
    place = {name: i for i, name in enumerate(METRICS)}
    return sorted(metrics, key=lambda metric: (place.get(metric, len(place)), metric))
