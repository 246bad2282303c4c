"""The prompts guides are judged on, and their greedy paths.

Shape key: `p` prompts, `h` history, `t` path position.
"""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce

from prorl.guide import Guide
from prorl.tables import Instances


@dataclass(frozen=True)
class JudgedPrompts:
    """Users [p], histories [p, h] and random targets [p]."""

    user: np.ndarray
    history: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, instances: Instances, device: torch.device) -> "JudgedPrompts":
        """Every instance's history with its random target."""
        history, target = (
            torch.tensor(x, dtype=torch.int64, device=device)
            for x in (instances.history, instances.random_target)
        )
        return cls(instances.user, history, target)

    def sample(self, n: int, seed: int) -> "JudgedPrompts":
        """`n` of the prompts drawn with `seed`, in their order; all of them where there are no more."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:n])
        return JudgedPrompts(self.user[rows], self.history[rows], self.target[rows])


def greedy_paths(guide: Guide, prompts: JudgedPrompts, max_length: int, batch_size: int) -> torch.Tensor:
    """The guide's path [p, t], t = `max_length`, for every prompt; with several processes each writes a
    share, and all get all.
    """
    state = PartialState()
    paths = torch.zeros(len(prompts), max_length, dtype=torch.int64, device=prompts.target.device)
    batches = torch.arange(len(prompts), device=paths.device).split(batch_size)
    for rows in batches[state.process_index :: state.num_processes]:
        paths[rows] = guide.paths(prompts.history[rows], prompts.target[rows])
    return reduce(paths, "sum")
