"""Measures a step's rollouts and gradients for the curves. What is measured changes nothing.

Shape key: `b` prompts, `m` rollouts, `t` path position, `w` all weights.
"""

from collections.abc import Iterable, Iterator

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.utils import parameters_to_vector

from prorl.devices import summed
from prorl.rl.passes import Pass
from prorl.rl.rewards import REWARDS, StepRewards, repeats


def pairwise_distance(items: torch.Tensor) -> torch.Tensor:
    """Mean Jaccard distance [b] between the item sets of a prompt's paths `items` [b, m, t]; two empty paths
    are at distance 0.
    """
    first = (items > 0) & ~repeats(items)
    same = items[:, :, None, :, None] == items[:, None, :, None, :]
    common = (same & first[:, :, None, :, None] & first[:, None, :, None, :]).sum((-1, -2))
    sizes = first.sum(-1)
    either = sizes[:, :, None] + sizes[:, None, :] - common
    distance = 1 - torch.where(either > 0, common / either.clamp(min=1), 1.0)
    m = items.shape[1]
    return distance.sum((1, 2)) / (m * (m - 1))  # a path is at distance 0 from itself


def rollout_sums(items: torch.Tensor, length: torch.Tensor, rewards: StepRewards) -> dict[str, torch.Tensor]:
    """What the curves are made of, summed over paths `items` [b, m, t] of `length` [b, m] with their raw
    rewards; processes add theirs up.

    The rewards that are summed over a path come first, then those that are averaged over its items.
    """
    lengths, n_items = length.double(), (items > 0).double().sum(-1)
    summed, averaged = {}, {}
    for name, values in rewards.values.items():
        if REWARDS[name].per_step:
            averaged[name] = (values.double().sum(-1) / n_items.clamp(min=1)).sum()
        else:
            summed[name] = values.double().sum()
    return {
        **summed,
        **averaged,
        "length": lengths.sum(),
        "length_square": (lengths**2).sum(),
        "stopped": (length < items.shape[-1]).double().sum(),
        "steps": n_items.sum(),
        "repeats": rewards.repeated.double().sum(),
        "non_items": (items < 0).double().sum(),
        "distance": pairwise_distance(items).double().sum(),
        "pairs": torch.tensor(float(len(items)), dtype=torch.float64, device=items.device),
    }


def rollout_curves(sums: dict[str, float], n_paths: int) -> dict[str, float]:
    """Curve values from the `rollout_sums` of all processes."""
    mean_length = sums["length"] / n_paths
    return {
        **{f"train/{name}": total / n_paths for name, total in sums.items() if name in REWARDS},
        "train/length": mean_length,
        "train/length_std": max(0.0, sums["length_square"] / n_paths - mean_length**2) ** 0.5,
        "train/stopped": sums["stopped"] / n_paths,
        "train/repeats": sums["repeats"] / max(1.0, sums["steps"]),
        "train/error": sums["non_items"] / max(1.0, sums["steps"] + sums["non_items"]),
        "train/diversity": sums["distance"] / sums["pairs"],
    }


class GradientVariance:
    """Watches the gradient of `model` grow, and measures its variance from its parts by the two halves of a
    step's prompts.

    first_half [b]: which of this process's prompts are in the first half.
    """

    def __init__(self, model: nn.Module, n_prompts: int, run: Accelerator):
        self._model, self._run = model, run
        own = torch.arange(n_prompts, device=run.device)[run.process_index :: run.num_processes]
        self.first_half = own < n_prompts // 2
        self._share = (n_prompts // 2) / n_prompts
        self._first: torch.Tensor

    def watch(self, passes: Iterable[Pass]) -> Iterator[Pass]:
        """The same passes, those of the first half first.

        Each is to be back-propagated before the next is asked for.
        """
        first = None
        for part in passes:
            if first is None and not part.first_half:
                first = self._gradient()
            yield part
        self._first = self._gradient() if first is None else first

    def value(self) -> float:
        """The variance of the gradient, once it is summed over all processes; 0 for one prompt, which has no
        halves.
        """
        first = summed(self._run, self._first)
        second = self._gradient() - first
        return gradient_variance(first, second, self._share) if self._share > 0 else 0.0

    def _gradient(self) -> torch.Tensor:
        """The gradient so far as one vector, a copy."""
        return parameters_to_vector(
            torch.zeros_like(weight) if weight.grad is None else weight.grad
            for weight in self._model.parameters()
        )


def gradient_variance(first: torch.Tensor, second: torch.Tensor, share: float) -> float:
    """Total variance of the gradient `first + second` [w], from its parts by the rollouts of two halves of
    the prompts, `share` of them in the first.

    share (1 - share) |first / share - second / (1 - share)|^2, that is |first - second|^2 for equal halves:
    the halves estimate the same gradient, so what they differ by is noise, of the prompts' draw and of the
    rollouts'. Unbiased, since no baseline is shared by them.
    """
    difference = first / share - second / (1 - share)
    return share * (1 - share) * torch.linalg.vector_norm(difference, dtype=torch.float64).item() ** 2
