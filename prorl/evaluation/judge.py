"""What judges paths: simulators and the items' attributes, over given prompts.

Shape key: `p` prompts, `k` samples per prompt, `t` path position, `w` words of attribute bits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from accelerate.utils import reduce

from prorl.devices import process
from prorl.guide import Guide, SamplingGuide
from prorl.metrics.judging import judged_metrics
from prorl.metrics.registry import METRICS, headline
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator


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

    def best_of_means(self, guide: SamplingGuide, n: int, metric: str = "ioi") -> dict[str, float]:
        """{simulator: mean of the best `metric` among `n` paths that the guide samples for each prompt}."""
        seed = derived_seed(self.seed, "best of")
        batches = torch.arange(len(self.prompts), device=self.prompts.target.device)
        samples = torch.cat(
            [
                guide.samples(self.prompts[rows], n, seed)
                for rows in batches.split(max(1, self.batch_size // n))
            ]
        )
        best = self.best_of(samples, {"best": n})
        return {name: float(np.mean(own["best"][metric])) for name, own in best.items()}

    def _judged(self, names: Iterable[str], items: torch.Tensor) -> dict[str, dict[str, np.ndarray]]:
        """{simulator: {metric: [p, k]}} of the metrics `names` of paths [p, k, t]."""
        return judged_metrics(
            list(names),
            self.simulators,
            self.prompts,
            items,
            self.attribute_words,
            n_pairs=self.diversity_pairs,
            seed=derived_seed(self.seed, "diversity"),
            batch_size=self.batch_size,
        )


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
