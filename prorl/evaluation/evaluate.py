"""Guides times simulators: every metric with its interval, guides compared on the same prompts, and every
prompt's result.

Shape key: `p` prompts, `k` samples per prompt, `t` path position.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from prorl.config.evaluate import Evaluate
from prorl.errors import DataError
from prorl.evaluation.judge import Judge, greedy_paths
from prorl.guide import BeamGuide, CostedGuide, Guide, LiveBeamGuide, SamplingGuide
from prorl.metrics.intervals import UserBootstrap
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.simulators.protocol import Simulator

Table = dict[str, dict]


@dataclass(frozen=True)
class Evaluation:
    """`results`: {guide: {simulator: {metric: {mean, low, high}, "rollout@K": {metric: ..}}}}, and beside
    `rollout@K` any `beam@K`, `max@K` (of the released beam search) and `target@Q`, the greedy paths towards
    targets at the Q-th percentile. A guide that says what its paths cost also has {"states": mean per prompt}
    beside its simulators.

    `comparison`: {"a - b": {simulator: {metric: ..}}}, paired. `per_prompt`: a row for each guide, simulator
    and prompt, with a column for each metric of the greedy path (`ioi`) and of every other way to decode
    (`rollout@5/ioi`), empty where the guide lacks that way.
    """

    results: Table
    comparison: Table
    per_prompt: pd.DataFrame


def evaluate(
    guides: Mapping[str, Guide],
    judge: Judge,
    harder: dict[str, torch.Tensor],
    settings: Evaluate,
    every_seconds: float,
) -> Evaluation:
    """Judge all `guides`, and compare `compared_pairs` of them prompt by prompt.

    `harder` are further targets [p] of the same prompts, by label: greedy paths are judged towards them too.
    Raises `DataError` for a guide whose number of items is not that of every simulator.
    """
    _same_items(guides, judge.simulators)
    prompts = judge.prompts
    bootstrap = UserBootstrap.of_users(
        prompts.user.cpu().numpy(), settings.bootstrap_resamples, derived_seed(judge.seed, "bootstrap")
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
        if isinstance(guide, CostedGuide):
            results[name]["states"] = guide.states(prompts, items).double().mean().item()
        rows += [
            _rows(name, simulator, prompts, items, own, others[simulator])
            for simulator, own in metrics[name].items()
        ]
    comparison = {
        f"{name} - {other}": {
            simulator: {
                metric: bootstrap.mean(values - metrics[other][simulator][metric])
                for metric, values in own.items()
            }
            for simulator, own in metrics[name].items()
        }
        for name, other in compared_pairs(list(guides))
    }
    return Evaluation(results, comparison, pd.concat(rows, ignore_index=True))


def compared_pairs(guides: list[str]) -> list[tuple[str, str]]:
    """Which guide is compared with which: every guide with the first, and the second with every further one.

    In the pipeline the first is the policy that fine-tuning starts from, the second the one that it gives.
    """
    first, *others = guides
    return [(other, first) for other in others] + [(others[0], other) for other in others[1:]]


def _same_items(guides: Mapping[str, Guide], simulators: Mapping[str, Simulator]) -> None:
    for name, guide in guides.items():
        for simulator, users in simulators.items():
            if guide.n_items != users.n_items:
                allowed = f"the {users.n_items} of simulator {simulator}"
                raise DataError(f"guide {name}: got {guide.n_items} items, allowed: {allowed}")


def _other_ways(
    name: str,
    guide: Guide,
    judge: Judge,
    harder: dict[str, torch.Tensor],
    settings: Evaluate,
    every_seconds: float,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """{simulator: {label: {metric: [p]}}} of everything that `guide` can do but the greedy paths towards the
    prompts' own targets.
    """
    prompts, seed = judge.prompts, derived_seed(judge.seed, "samples")

    def in_batches(way: str, n_paths: int, write: Callable[[Prompts], torch.Tensor]) -> torch.Tensor:
        size = max(1, judge.batch_size // n_paths)
        batches = torch.arange(len(prompts), device=prompts.target.device).split(size)
        shown = progress(batches, description=f"{way} {name}", unit="batch", every_seconds=every_seconds)
        return torch.cat([write(prompts[rows]) for rows in shown])

    parts = []
    if isinstance(guide, SamplingGuide):
        n = max(settings.rollouts)
        samples = in_batches("sample", n, lambda batch: guide.samples(batch, n, seed))
        parts.append(judge.best_of(samples, {f"rollout@{count}": count for count in settings.rollouts}))
    if isinstance(guide, BeamGuide):
        for k in settings.beams:
            paths = in_batches(f"beam@{k}", k, lambda batch, k=k: guide.beams(batch, k))
            parts.append(judge.best_of(paths, {f"beam@{k}": k}))
    if isinstance(guide, LiveBeamGuide):
        for k in settings.live_beams:
            paths = in_batches(f"max@{k}", k, lambda batch, k=k: guide.live_beams(batch, k))
            parts.append(judge.best_of(paths, {f"max@{k}": k}))
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
    prompts: Prompts,
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
            "user": prompts.user.cpu().numpy().astype(np.int32),
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
