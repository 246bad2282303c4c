"""What one policy-gradient step learns from: prompts, their rollouts, and the step rewards of a simulator.

Shape key: `b` prompts, `m` rollouts, `h` history, `t` path position.
"""

from dataclasses import dataclass

import numpy as np
import torch

from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.policy.catalogue import Catalogue, Paths
from prorl.policy.decoding import keyed_uniforms, rollouts
from prorl.rl.rewards import StepRewards, step_rewards
from prorl.runtime import derived_seed
from prorl.simulators.scoring import Simulator
from prorl.t5.model import T5
from prorl.tables import Instances


@dataclass(frozen=True)
class Prompts:
    """Numbers [b] that key sampling, histories [b, h] and targets [b]."""

    number: torch.Tensor
    history: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, rows: torch.Tensor | slice) -> "Prompts":
        return Prompts(self.number[rows], self.history[rows], self.target[rows])


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
        """The prompts of `step` (from 1): `per_step`, or a little fewer, so that an epoch's steps are alike
        and none is nearly empty.
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
        number, history, target = (
            torch.from_numpy(np.asarray(x)).long().to(device)
            for x in (rows, self.instances.history[rows], target)
        )
        return Prompts(number, history, target)


def draw(
    policy: T5,
    catalogue: Catalogue,
    simulator: Simulator,
    prompts: Prompts,
    n_rollouts: int,
    temperature: float,
    seed: int,
) -> tuple[Paths, StepRewards]:
    """`n_rollouts` paths for each prompt and their step rewards; each path depends on `seed`, its prompt's
    number and its own alone.
    """
    uniforms = keyed_uniforms(seed, prompts.number, n_rollouts, catalogue.n_tokens)
    paths = rollouts(policy, catalogue, prompts.history, prompts.target, uniforms, temperature)
    return paths, step_rewards(paths.items, simulator.score(prompts.history, paths.items, prompts.target))
