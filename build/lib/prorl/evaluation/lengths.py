"""Metrics of the first items of paths: what a path has reached after 1, 2, .. items.

Shape key: `p` prompts, `t` path position, `w` words of attribute bits.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from prorl.evaluation.judge import Judge
from prorl.metrics.path_metrics import coherence


def by_length(judge: Judge, items: torch.Tensor) -> dict[str, np.ndarray]:
    """IoI, IoR, CTR and Coherence [p, t] of the first 1 to t items of paths [p, t], by the one simulator of
    `judge`; NaN beyond a path's end.
    """
    (simulator,) = judge.simulators.values()
    prompts = judge.prompts
    scores = [
        simulator.score(prompts.history[rows], items[rows][:, None], prompts.target[rows])
        for rows in torch.arange(len(items), device=items.device).split(judge.batch_size)
    ]
    log_prob, rank, acceptance = (
        np.concatenate([getattr(part, name)[:, 0].cpu().numpy().astype(np.float64) for part in scores])
        for name in ("log_prob", "rank", "acceptance")
    )
    paths, target = items.cpu().numpy(), prompts.target.cpu().numpy()
    real = (paths > 0).cumsum(1)
    first = [np.where(np.arange(paths.shape[1]) <= t, paths, 0) for t in range(paths.shape[1])]
    found = {
        "ioi": log_prob[:, 1:] - log_prob[:, :1],
        "ior": rank[:, :1] - rank[:, 1:],
        "ctr": (acceptance * (paths > 0)).cumsum(1) / np.maximum(real, 1),
        "coherence": np.stack([coherence(own, target, judge.attribute_words) for own in first], axis=1),
    }
    return {name: np.where(paths != 0, values, np.nan) for name, values in found.items()}


def means(of_paths: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """`by_length` as a row per length that any path has: {"length", "prompts", metric: mean}, over the paths
    that are at least as long.
    """
    rows = []
    there = ~np.isnan(of_paths["ioi"])
    for t in np.flatnonzero(there.any(0)).tolist():
        own = {metric: float(values[there[:, t], t].mean()) for metric, values in of_paths.items()}
        rows.append({"length": t + 1, "prompts": int(there[:, t].sum()), **own})
    return rows
