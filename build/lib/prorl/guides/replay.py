"""What was shown last, to be learnt from again, and what training from it shares: target networks that
follow.

Shape key: `r` shown items.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from prorl.checkpoint import Modules


@dataclass
class Replay:
    """Rows of named tensors; beyond `capacity` rows each new one takes the place of the oldest."""

    capacity: int
    columns: dict[str, torch.Tensor] = field(default_factory=dict)
    n_added: int = 0

    def __len__(self) -> int:
        return min(self.n_added, self.capacity)

    def add(self, rows: Mapping[str, torch.Tensor]) -> None:
        """Add `rows`, each value [r, ..]."""
        n = len(next(iter(rows.values())))
        if not self.columns:
            self.columns = {
                name: part.new_zeros(self.capacity, *part.shape[1:]) for name, part in rows.items()
            }
        first = max(0, n - self.capacity)  # earlier ones would be replaced at once
        for name, part in rows.items():
            places = torch.arange(self.n_added + first, self.n_added + n, device=part.device) % self.capacity
            self.columns[name][places] = part[first:]
        self.n_added += n

    def sample(self, n: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """`n` rows drawn with replacement; the generator is one of the CPU."""
        rows = torch.randint(len(self), (n,), generator=generator)
        return {name: part[rows.to(part.device)] for name, part in self.columns.items()}


@dataclass(frozen=True)
class Learnt:
    """Networks, optimisers and a replay, as `prorl.checkpoint.Resumable`."""

    modules: Modules
    replay: Replay

    def tensors(self) -> dict[str, torch.Tensor]:
        """See `Resumable.tensors`."""
        rows = {f"replay/{name}": part for name, part in self.replay.columns.items()}
        return {**self.modules.tensors(), **rows, "replay_added": torch.tensor(self.replay.n_added)}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """See `Resumable.restore`."""
        self.modules.restore(tensors)
        device = next(
            next(m for m in self.modules.by_name.values() if isinstance(m, nn.Module)).parameters()
        ).device
        self.replay.columns = {
            name.removeprefix("replay/"): part.to(device)
            for name, part in tensors.items()
            if name.startswith("replay/")
        }
        self.replay.n_added = int(tensors["replay_added"])


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, share: float) -> None:
    """Move the weights of `target` by `share` of the way to those of `online` (polyak averaging)."""
    for own, other in zip(target.parameters(), online.parameters(), strict=True):
        own.lerp_(other, share)
