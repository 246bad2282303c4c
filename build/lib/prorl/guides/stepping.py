"""Walks to their end, step by step: the paths that come of it, and what they have brought.

Shape key: `b` prompts, `t` path position.
"""

from collections.abc import Callable, Iterator

import torch

from prorl.guides.walks import Outcome, Walk, World
from prorl.prompts import Prompts

BATCH_SIZE = 128  # prompts that paths are written for at once
Step = Callable[[Walk], Walk]


def steps(walk: Walk, step: Step) -> Iterator[tuple[Walk, Walk]]:
    """The walks before and after each step of the paths of `walk`, until all have ended."""
    while len(walk):
        after = step(walk)
        yield walk, after
        ended = after.ended
        walk = after.where(~ended) if ended.any() else after


def write_paths(world: World, prompts: Prompts, step: Step, batch_size: int = BATCH_SIZE) -> torch.Tensor:
    """The path [b, t] of every prompt, t being the longest length, by `step`."""
    parts = []
    for first in range(0, len(prompts), batch_size):
        batch = prompts[first : first + batch_size]
        path = batch.target.new_zeros(len(batch), world.decoding.max_length)
        for before, after in steps(world.start(batch), step):
            path[after.row, before.length] = after.item
        parts.append(path)
    return torch.cat(parts)


@torch.no_grad()
def path_outcomes(
    world: World, prompts: Prompts, step: Step, reward: Callable[[Outcome], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Of each path that `step` writes, [b]: the sum of `reward`, IoI, CTR, and the share of items that are
    coherent with the one before.
    """
    sums = torch.zeros(5, len(prompts), dtype=torch.float64)
    for before, after in steps(world.start(prompts), step):
        outcome = after.outcome(before)
        found = (
            reward(outcome),
            outcome.gain,
            outcome.acceptance,
            outcome.coherent,
            torch.ones_like(outcome.gain),
        )
        sums[:, after.row.cpu()] += torch.stack([part.double().cpu() for part in found])
    total, ioi, acceptance, coherent, length = sums
    return {"reward": total, "ioi": ioi, "ctr": acceptance / length, "coherence": coherent / length}


def mean_outcomes(
    world: World, prompts: Prompts, step: Step, reward: Callable[[Outcome], torch.Tensor]
) -> dict[str, float]:
    """Means of `path_outcomes`."""
    found = path_outcomes(world, prompts, step, reward)
    return {name: values.mean().item() for name, values in found.items()}
