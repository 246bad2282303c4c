"""Draws what one policy-gradient step learns from: prompts and their rollouts."""

from dataclasses import dataclass

import numpy as np
import torch

from prorl.instances import Instances
from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.policy.catalogue import Catalogue, Paths
from prorl.policy.decoding import keyed_uniforms, rollouts
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.t5.model import T5


@dataclass(frozen=True)
class PromptSource:
    """The prompts of each training step: all instances in a new random order every epoch, with `mined`,
    `random` or `mixed` targets.
    """

    instances: Instances
    sequences: Sequences
    n_items: int
    targets: str
    per_step: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one pass over all prompts takes."""
        return -(-len(self.instances) // self.per_step)

    @property
    def fewest_per_step(self) -> int:
        """Prompts of the smallest step."""
        return len(self.instances) // self.steps_per_epoch

    def at(self, step: int, device: torch.device) -> Prompts:
        """The prompts of `step` (from 1): `per_step`, or a little fewer, so that the steps of an epoch are
        alike in size.
        """
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        order = np.random.default_rng(derived_seed(self.seed, "prompt order", epoch)).permutation(
            len(self.instances)
        )
        rows = np.array_split(order, self.steps_per_epoch)[place]
        target = self.instances.target[rows]
        if self.targets != "mined":
            drawn = random_targets(
                self.sequences,
                self.instances.user[rows],
                self.n_items,
                derived_seed(self.seed, "targets", step),
            )
            target = drawn if self.targets == "random" else np.where(np.arange(len(rows)) % 2, drawn, target)
        parts = rows, self.instances.user[rows], self.instances.history[rows], target
        return Prompts(*(torch.from_numpy(np.asarray(part)).long().to(device) for part in parts))


def draw(
    policy: T5, catalogue: Catalogue, prompts: Prompts, n_rollouts: int, temperature: float, seed: int
) -> Paths:
    """`n_rollouts` paths for each prompt; each depends on `seed`, its prompt's number and its own alone."""
    uniforms = keyed_uniforms(seed, prompts.number, n_rollouts, catalogue.n_tokens)
    return rollouts(policy, catalogue, prompts.history, prompts.target, uniforms, temperature)
