"""Prompts: who is to be led where. Everything that guides takes them, and everything that judges reads them.

Shape key: `b` prompts, `h` history, `t` path position, `c` alternatives.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

from prorl.instances import Instances
from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed


@dataclass(frozen=True)
class Prompts:
    """Users and targets, all int64 on one device.

    number [b]: the number that keys whatever is drawn for a prompt, so that a draw does not depend on the
    batch; user [b], counted from 1; history [b, h]; target [b].
    """

    number: torch.Tensor
    user: torch.Tensor
    history: torch.Tensor
    target: torch.Tensor

    @classmethod
    def of(cls, instances: Instances, device: torch.device | str = "cpu") -> "Prompts":
        """Every instance's history with its random target, numbered from 0."""
        parts = (np.arange(len(instances)), instances.user, instances.history, instances.random_target)
        return Prompts(*(torch.tensor(part, dtype=torch.int64, device=device) for part in parts))

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: torch.Tensor | slice) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))

    def sample(self, n: int, seed: int) -> Self:
        """`n` of the prompts drawn with `seed`, in their order; all of them where there are no more."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:n])
        return self[torch.from_numpy(rows).to(self.target.device)]


@dataclass(frozen=True)
class Demonstrations(Prompts):
    """Prompts and the paths to imitate: path [b, t], 0 behind the end, t being the longest length.

    A teacher that weighs its choices also gives what else might have followed at a position: items
    `alternatives` [b, t, c], 0 being the stop, and their `shares` [b, t, c] of what is to be imitated there.
    The path's own item, or its stop, has the rest. A share of 0 is no alternative; c is 0 where there are
    none.
    """

    path: torch.Tensor
    alternatives: torch.Tensor
    shares: torch.Tensor

    @classmethod
    def certain(cls, prompts: Prompts, path: torch.Tensor) -> "Demonstrations":
        """`prompts` with paths [b, t] that have no alternatives."""
        none = path.new_zeros(*path.shape, 0)
        return Demonstrations(
            prompts.number, prompts.user, prompts.history, prompts.target, path, none, none.float()
        )

    @property
    def lengths(self) -> torch.Tensor:
        """Items of each path, [b]."""
        return (self.path != 0).sum(1)


def mined(instances: Instances, max_length: int) -> Demonstrations:
    """The mined paths, cut at `max_length`: each run without its last item, which is the target."""
    columns = np.arange(instances.run.shape[1])
    path = np.where(columns < (instances.length - 1)[:, None], instances.run, 0)
    path = np.pad(path, ((0, 0), (0, max(0, max_length - path.shape[1]))))[:, :max_length]
    parts = (np.arange(len(instances)), instances.user, instances.history, instances.target, path)
    *prompts, path = (torch.tensor(part, dtype=torch.int64) for part in parts)
    return Demonstrations.certain(Prompts(*prompts), path)


def random_prompts(
    instances: Instances, sequences: Sequences, n_items: int, n_prompts: int, seed: int
) -> Prompts:
    """`n_prompts` histories of `instances` in random order, each used once before any is used again, with
    random targets: items that the user never interacted with.
    """
    generator = np.random.default_rng(seed)
    rounds = -(-n_prompts // len(instances))
    rows = np.concatenate([generator.permutation(len(instances)) for _ in range(rounds)])[:n_prompts]
    user = instances.user[rows]
    target = random_targets(sequences, user, n_items, derived_seed(seed, "targets"))
    parts = (np.arange(n_prompts), user, instances.history[rows], target)
    return Prompts(*(torch.tensor(part, dtype=torch.int64) for part in parts))


def concatenated(parts: list[Demonstrations]) -> Demonstrations:
    """All demonstrations of `parts`, one after another."""
    most = max(part.shares.shape[2] for part in parts)

    def joined(name: str) -> torch.Tensor:
        tensors = [getattr(part, name) for part in parts]
        if name in ("alternatives", "shares"):
            tensors = [F.pad(tensor, (0, most - tensor.shape[2])) for tensor in tensors]
        return torch.cat(tensors)

    return Demonstrations(*(joined(field.name) for field in fields(Demonstrations)))
