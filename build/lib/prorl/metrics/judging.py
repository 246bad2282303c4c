"""Judges paths: entries of `METRICS` under every simulator, a value per path.

Shape key: `p` prompts, `m` paths per prompt, `t` path position, `n` items, `w` words of attribute bits.
"""

from collections.abc import Collection, Mapping

import numpy as np
import torch

from prorl.metrics.registry import METRICS, JudgedPaths
from prorl.prompts import Prompts
from prorl.simulators.protocol import Simulator

PATHS_PER_PROMPT = 16  # in a batch; where prompts have more, fewer prompts are read at once


def judged_metrics(
    names: Collection[str],
    simulators: Mapping[str, Simulator],
    prompts: Prompts,
    items: torch.Tensor,
    attribute_words: np.ndarray,
    *,
    n_pairs: int,
    seed: int,
    batch_size: int,
) -> dict[str, dict[str, np.ndarray]]:
    """{simulator: {metric: [p, m]}} for the metrics `names`, of paths `items` [p, m, t] of `prompts`.

    attribute_words [n+1, w] are the items' attributes as bits; `n_pairs` and `seed` are those of diversity.
    Simulators read `batch_size` prompts at once, fewer where m is above `PATHS_PER_PROMPT`.
    """
    shape = items.shape[:2]
    found: dict[str, dict[str, np.ndarray]] = {}
    shared: dict[str, np.ndarray] = {}
    for simulator, users in simulators.items():
        paths = judged_paths(users, prompts, items, attribute_words, n_pairs, seed, batch_size)
        own = {}
        for name in names:
            metric = METRICS[name]
            if name in shared:
                own[name] = shared[name]
                continue
            own[name] = metric.function(paths).reshape(shape)
            if not metric.simulated:
                shared[name] = own[name]
        found[simulator] = own
    return found


def judged_paths(
    simulator: Simulator,
    prompts: Prompts,
    items: torch.Tensor,
    attribute_words: np.ndarray,
    n_pairs: int,
    seed: int,
    batch_size: int,
) -> JudgedPaths:
    """Paths `items` [p, m, t] as rows [p * m, t], those of a prompt in a row, with the simulator's scores.

    The simulator's memory is bounded, whatever m is.
    """
    at_once = max(1, min(batch_size, batch_size * PATHS_PER_PROMPT // items.shape[1]))
    scores = [
        simulator.score(history, path, target, ends=True)
        for history, target, path in zip(
            prompts.history.split(at_once),
            prompts.target.split(at_once),
            items.split(at_once),
            strict=True,
        )
    ]
    m = items.shape[1]
    history, user, target = (
        part.repeat_interleave(m, dim=0).cpu().numpy()
        for part in (prompts.history, prompts.user, prompts.target)
    )
    return JudgedPaths(
        items=items.flatten(0, 1).cpu().numpy(),
        history=history,
        user=user,
        target=target,
        attribute_words=attribute_words,
        log_prob=np.concatenate([_rows(part.log_prob).astype(np.float64) for part in scores]),
        rank=np.concatenate([_rows(part.rank) for part in scores]),
        acceptance=np.concatenate([_rows(part.acceptance).astype(np.float64) for part in scores]),
        n_pairs=n_pairs,
        seed=seed,
    )


def _rows(part: torch.Tensor) -> np.ndarray:
    """`part` [b, m, ..] with a row per path."""
    return part.flatten(0, 1).cpu().numpy()
