"""What judges paths: simulators and the items' attributes, over given prompts.

Shape key: `p` prompts, `k` samples per prompt, `t` path position, `w` words of attribute bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from accelerate.utils import reduce

from prorl.guide import Guide
from prorl.metrics import path_metrics
from prorl.metrics.judging import path_shape_metrics, simulated_metrics
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.simulators.scoring import Simulator
from prorl.training import process


@dataclass(frozen=True)
class Judge:
    """Simulators and attributes [n+1, w] that paths are judged by, over prompts."""

    prompts: Prompts
    simulators: Mapping[str, Simulator]
    attribute_words: np.ndarray
    max_length: int
    diversity_pairs: int
    batch_size: int
    seed: int

    def metrics(self, items: torch.Tensor) -> dict[str, dict[str, np.ndarray]]:
        """{simulator: {metric: [p]}} of one path [p, t] per prompt."""
        shape = path_shape_metrics(
            self.prompts.history.cpu().numpy(),
            self.prompts.target.cpu().numpy(),
            items.cpu().numpy(),
            self.prompts.user.cpu().numpy(),
            self.attribute_words,
            self.diversity_pairs,
            derived_seed(self.seed, "diversity"),
        )
        return {
            name: {
                metric: values[:, 0] for metric, values in self._simulated(simulator, items[:, None]).items()
            }
            | shape
            for name, simulator in self.simulators.items()
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
        """{simulator: {label: {metric: [p]}}}: each metric's best among the first K of `samples` [p, k, t],
        for the labels of `counts`.
        """
        n, k, t = samples.shape
        target = self.prompts.target.repeat_interleave(k).cpu().numpy()
        coherence = path_metrics.coherence(
            samples.reshape(n * k, t).cpu().numpy(), target, self.attribute_words
        ).reshape(n, k)
        best = {}
        for name, simulator in self.simulators.items():
            metrics = self._simulated(simulator, samples) | {"coherence": coherence}
            best[name] = {
                label: {metric: values[:, :count].max(1) for metric, values in metrics.items()}
                for label, count in counts.items()
            }
        return best

    def _simulated(self, simulator: Simulator, items: torch.Tensor) -> dict[str, np.ndarray]:
        return simulated_metrics(simulator, self.prompts.history, self.prompts.target, items, self.batch_size)


def greedy_paths(guide: Guide, prompts: Prompts, max_length: int, batch_size: int) -> torch.Tensor:
    """The guide's path [p, t], t = `max_length`, for every prompt; with several processes each writes a
    share, and all get all.
    """
    state = process()
    paths = torch.zeros(len(prompts), max_length, dtype=torch.int64, device=prompts.target.device)
    batches = torch.arange(len(prompts), device=paths.device).split(batch_size)
    for rows in batches[state.process_index :: state.num_processes]:
        paths[rows] = guide.paths(prompts[rows])
    return cast(torch.Tensor, reduce(paths, "sum"))
