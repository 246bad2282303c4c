"""What the curves say of a step's rollouts and gradients.

Shape key: `b` prompts, `m` rollouts, `t` path position, `w` all weights.
"""

import torch

from prorl.rl.rewards import StepRewards, repeats

ROLLOUT_SUMS = (
    "ioi",
    "ior",
    "ctr",
    "length",
    "length_square",
    "stopped",
    "steps",
    "repeats",
    "non_items",
    "distance",
    "pairs",
)


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
    """`ROLLOUT_SUMS` of paths `items` [b, m, t] of `length` [b, m] and their raw rewards, which add up over
    processes.
    """
    lengths, n_items = length.double(), (items > 0).double().sum(-1)
    sums = (
        rewards.ioi.double().sum(),
        rewards.ior.double().sum(),
        (rewards.ctr.double().sum(-1) / n_items.clamp(min=1)).sum(),
        lengths.sum(),
        (lengths**2).sum(),
        (length < items.shape[-1]).double().sum(),
        n_items.sum(),
        rewards.repeated.double().sum(),
        (items < 0).double().sum(),
        pairwise_distance(items).double().sum(),
        torch.tensor(float(len(items)), dtype=torch.float64, device=items.device),
    )
    return dict(zip(ROLLOUT_SUMS, sums, strict=True))


def rollout_curves(sums: dict[str, float], n_paths: int) -> dict[str, float]:
    """Curve values from the `rollout_sums` of all processes."""
    mean_length = sums["length"] / n_paths
    return {
        "train/ioi": sums["ioi"] / n_paths,
        "train/ior": sums["ior"] / n_paths,
        "train/ctr": sums["ctr"] / n_paths,
        "train/length": mean_length,
        "train/length_std": max(0.0, sums["length_square"] / n_paths - mean_length**2) ** 0.5,
        "train/stopped": sums["stopped"] / n_paths,
        "train/repeats": sums["repeats"] / max(1.0, sums["steps"]),
        "train/error": sums["non_items"] / max(1.0, sums["steps"] + sums["non_items"]),
        "train/diversity": sums["distance"] / sums["pairs"],
    }


def gradient_variance(first: torch.Tensor, second: torch.Tensor, share: float) -> float:
    """Total variance of the gradient `first + second` [w], from its parts by the rollouts of two halves of
    the prompts, `share` of them in the first.

    share (1 - share) |first / share - second / (1 - share)|^2, that is |first - second|^2 for equal halves:
    the halves estimate the same gradient, so what they differ by is noise, of the prompts' draw and of the
    rollouts'. Unbiased, since no baseline is shared by them.
    """
    difference = first / share - second / (1 - share)
    return share * (1 - share) * torch.linalg.vector_norm(difference, dtype=torch.float64).item() ** 2
