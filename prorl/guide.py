"""What every method under comparison is: something that writes a path from a history towards a target."""

from typing import Protocol

import torch


class Guide(Protocol):
    """Writes guidance paths."""

    def paths(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """One path [b, t] for each history [b, h] and target [b]: items, -1 for emitted tokens that are no
        item, 0 behind its end.
        """
        ...


class SamplingGuide(Guide, Protocol):
    """A guide that can also write several different paths."""

    def samples(
        self, history: torch.Tensor, target: torch.Tensor, prompt: torch.Tensor, n_samples: int, seed: int
    ) -> torch.Tensor:
        """Paths [b, m, t] drawn independently; those of prompt number `prompt` [b] depend on that number and
        `seed` alone.
        """
        ...


class BeamGuide(SamplingGuide, Protocol):
    """A guide that can also name its likeliest paths."""

    def beams(self, history: torch.Tensor, target: torch.Tensor, n_beams: int) -> torch.Tensor:
        """Paths [b, k, t] of a beam search with k = `n_beams` beams, the likeliest first."""
        ...
