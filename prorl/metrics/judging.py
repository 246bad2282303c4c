"""All metrics of paths under one simulator, a value per prompt.

Shape key: `p` prompts, `h` history, `t` path position, `n` items, `w` words of attribute bits.
"""

import numpy as np
import torch

from prorl.metrics import path_metrics
from prorl.simulators.scoring import Simulator

SIMULATED = ("ioi", "ior", "ctr")  # the metrics that depend on the simulator


def simulated_metrics(
    simulator: Simulator, history: torch.Tensor, target: torch.Tensor, items: torch.Tensor, batch_size: int
) -> dict[str, np.ndarray]:
    """ioi, ior and ctr, each [p, m], of paths `items` [p, m, t] after `history` [p, h] towards `target` [p];
    non-items are skipped.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SIMULATED}
    for h, g, path in zip(
        history.split(batch_size), target.split(batch_size), items.split(batch_size), strict=True
    ):
        scores = simulator.score(h, path, g, ends=True)
        b, m, t = path.shape
        log_prob, rank = (x.cpu().numpy().reshape(b * m, 2) for x in (scores.log_prob.double(), scores.rank))
        acceptance, rows = (x.cpu().numpy().reshape(b * m, t) for x in (scores.acceptance.double(), path))
        parts["ioi"].append(path_metrics.increment_of_interest(log_prob).reshape(b, m))
        parts["ior"].append(path_metrics.increment_of_rank(rank).reshape(b, m).astype(np.float64))
        parts["ctr"].append(path_metrics.feasibility(acceptance, rows).reshape(b, m))
    return {name: np.concatenate(part) for name, part in parts.items()}


def path_shape_metrics(
    history: np.ndarray,
    target: np.ndarray,
    items: np.ndarray,
    user: np.ndarray,
    words: np.ndarray,
    n_pairs: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """The metrics that need no simulator, each [p], of paths `items` [p, t]; `words` [n+1, w] are the items'
    attributes as bits.
    """
    return {
        "coherence": path_metrics.coherence(items, target, words),
        "error": path_metrics.error(items),
        "length": (items != 0).sum(1).astype(np.float64),
        "distinct": path_metrics.distinct(items),
        "diversity": path_metrics.diversity(items, user, n_pairs, seed),
        "repeats": path_metrics.repeats(items),
        "target_in_path": path_metrics.target_in_path(items, target),
        "history_in_path": path_metrics.history_in_path(items, history),
    }
