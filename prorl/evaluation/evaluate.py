"""Guides times simulators: every metric with its interval, guides compared on the same prompts, and every
prompt's result.

Shape key: `p` prompts, `k` samples per prompt, `t` path position, `w` words of attribute bits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from prorl.config.evaluate import Evaluate
from prorl.evaluation.prompts import JudgedPrompts, greedy_paths
from prorl.guide import BeamGuide, Guide
from prorl.metrics.intervals import UserBootstrap
from prorl.metrics.judging import judged_metrics
from prorl.metrics.registry import METRICS, headline
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.simulators.protocol import Simulator

Table = dict[str, dict]


@dataclass(frozen=True)
class Evaluation:
    """`results`: {guide: {simulator: {metric: {mean, low, high}, "rollout@K": {metric: ..}}}}, and beside
    `rollout@K` any `beam@K` and `target@Q`, the greedy paths towards targets at the Q-th percentile;
    `comparison`: {"a - b": {simulator: {metric: ..}}}, paired; `per_prompt`: a row for each guide, simulator
    and prompt, with a column for each metric of the greedy path (`ioi`) and of every other way to decode
    (`rollout@5/ioi`).
    """

    results: Table
    comparison: Table
    per_prompt: pd.DataFrame


@dataclass(frozen=True)
class Judge:
    """Simulators and attributes [n+1, w] that paths are judged by, over prompts."""

    prompts: JudgedPrompts
    simulators: dict[str, Simulator]
    attribute_words: np.ndarray
    max_length: int
    diversity_pairs: int
    batch_size: int
    seed: int

    def metrics(self, items: torch.Tensor) -> dict[str, dict[str, np.ndarray]]:
        """{simulator: {metric: [p]}} of one path [p, t] per prompt."""
        return {
            name: {metric: values[:, 0] for metric, values in own.items()}
            for name, own in self._judged(METRICS, items[:, None]).items()
        }

    def greedy_means(self, guide: Guide) -> dict[str, dict[str, float]]:
        """{simulator: {metric: mean}} of the guide's greedy paths."""
        metrics = self.metrics(greedy_paths(guide, self.prompts, self.max_length, self.batch_size))
        return {
            name: {metric: float(np.mean(values)) for metric, values in own.items()}
            for name, own in metrics.items()
        }

    def best_of(
        self, samples: torch.Tensor, counts: dict[str, int]
    ) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        """{simulator: {label: {metric: [p]}}}: each headline metric's best among the first K of `samples`
        [p, k, t], for the labels of `counts`.
        """
        return {
            name: {
                label: {metric: METRICS[metric].best(values[:, :count]) for metric, values in own.items()}
                for label, count in counts.items()
            }
            for name, own in self._judged(headline(), samples).items()
        }

    def _judged(self, names: Iterable[str], items: torch.Tensor) -> dict[str, dict[str, np.ndarray]]:
        """{simulator: {metric: [p, k]}} of the metrics `names` of paths [p, k, t]."""
        prompts, seed = self.prompts, derived_seed(self.seed, "diversity")
        return judged_metrics(
            list(names),
            self.simulators,
            Prompts(
                torch.arange(len(prompts)), torch.as_tensor(prompts.user), prompts.history, prompts.target
            ),
            items,
            self.attribute_words,
            n_pairs=self.diversity_pairs,
            seed=seed,
            batch_size=self.batch_size,
        )


def evaluate(
    guides: dict[str, BeamGuide],
    judge: Judge,
    harder: dict[str, torch.Tensor],
    settings: Evaluate,
    every_seconds: float,
) -> Evaluation:
    """Judge all `guides`; each but the first is compared with the first, prompt by prompt.

    `harder` are further targets [p] of the same prompts, by label: greedy paths are judged towards them too.
    """
    prompts = judge.prompts
    bootstrap = UserBootstrap.of_users(
        prompts.user, settings.bootstrap_resamples, derived_seed(judge.seed, "bootstrap")
    )
    results: Table = {}
    metrics: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    rows = []
    for name, guide in guides.items():
        items = greedy_paths(guide, prompts, judge.max_length, judge.batch_size)
        metrics[name] = judge.metrics(items)
        others = _other_ways(name, guide, judge, harder, settings, every_seconds)
        results[name] = {
            simulator: {metric: bootstrap.mean(values) for metric, values in own.items()}
            | {
                label: {metric: bootstrap.mean(values) for metric, values in part.items()}
                for label, part in others[simulator].items()
            }
            for simulator, own in metrics[name].items()
        }
        rows += [
            _rows(name, simulator, prompts, items, own, others[simulator])
            for simulator, own in metrics[name].items()
        ]
    first, *compared = guides
    comparison = {
        f"{other} - {first}": {
            simulator: {
                metric: bootstrap.mean(values - metrics[first][simulator][metric])
                for metric, values in own.items()
            }
            for simulator, own in metrics[other].items()
        }
        for other in compared
    }
    return Evaluation(results, comparison, pd.concat(rows, ignore_index=True))


def _other_ways(
    name: str,
    guide: BeamGuide,
    judge: Judge,
    harder: dict[str, torch.Tensor],
    settings: Evaluate,
    every_seconds: float,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """{simulator: {label: {metric: [p]}}} of everything but the greedy paths towards the prompts' own
    targets.
    """
    prompts, seed = judge.prompts, derived_seed(judge.seed, "samples")

    def in_batches(way: str, n_paths: int, write: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        batches = torch.arange(len(prompts), device=prompts.target.device).split(
            max(1, judge.batch_size // n_paths)
        )
        return torch.cat(
            [
                write(rows)
                for rows in progress(
                    batches, description=f"{way} {name}", unit="batch", every_seconds=every_seconds
                )
            ]
        )

    n_samples = max(settings.rollouts)
    samples = in_batches(
        "sample",
        n_samples,
        lambda rows: guide.samples(prompts.history[rows], prompts.target[rows], rows, n_samples, seed),
    )
    parts = [judge.best_of(samples, {f"rollout@{count}": count for count in settings.rollouts})]
    for k in settings.beams:
        paths = in_batches(
            f"beam@{k}", k, lambda rows, k=k: guide.beams(prompts.history[rows], prompts.target[rows], k)
        )
        parts.append(judge.best_of(paths, {f"beam@{k}": k}))
    for label, target in harder.items():
        towards = replace(judge, prompts=replace(prompts, target=target))
        metrics = towards.metrics(greedy_paths(guide, towards.prompts, judge.max_length, judge.batch_size))
        parts.append({simulator: {label: own} for simulator, own in metrics.items()})
    return {
        simulator: {label: own for part in parts for label, own in part[simulator].items()}
        for simulator in judge.simulators
    }


def _rows(
    guide: str,
    simulator: str,
    prompts: JudgedPrompts,
    items: torch.Tensor,
    greedy: dict[str, np.ndarray],
    others: dict[str, dict[str, np.ndarray]],
) -> pd.DataFrame:
    paths = items.cpu().numpy()
    return pd.DataFrame(
        {
            "policy": guide,
            "simulator": simulator,
            "prompt": np.arange(len(prompts)),
            "user": prompts.user,
            "history": list(prompts.history.cpu().numpy()),
            "target": prompts.target.cpu().numpy(),
            "path": [row[row != 0] for row in paths],
            **greedy,
            **{
                f"{label}/{metric}": values
                for label, part in others.items()
                for metric, values in part.items()
            },
        }
    )
