"""A policy as a guide."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import torch

from prorl.config.decoding import Decoding
from prorl.config.section import Precision
from prorl.policy.beam import beams
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_policy
from prorl.policy.decoding import greedy, keyed_uniforms, rollouts
from prorl.policy.live_beams import live_beams
from prorl.prompts import Prompts
from prorl.t5.folds import Folds
from prorl.t5.model import T5


@dataclass(frozen=True)
class PolicyGuide:
    """Greedy paths, samples at temperature 1, and beam searches of a policy, in float32 or by bf16 autocast.

    A policy that is frozen is prepared once, at the first call; one in training at each.
    """

    policy: T5
    catalogue: Catalogue
    precision: Precision = "float32"

    @cached_property
    def _folds(self) -> Folds:
        return Folds(self.policy)

    @classmethod
    def load(
        cls, folder: Path | str, decoding: Decoding | None, device: torch.device, precision: Precision
    ) -> Self:
        """The policy in `folder`, frozen, on `device`; `decoding` and errors as in `load_policy`."""
        policy, catalogue = load_policy(Path(folder), decoding)
        frozen = policy.to(device).eval().requires_grad_(False)
        return cls(frozen, catalogue.to(device), precision)

    def told(self, acceptance: float | None) -> Self:
        """The same policy, told how much `acceptance` counts. Raises `ConfigError` where it cannot be."""
        return replace(self, catalogue=self.catalogue.at(acceptance))

    def blocking(self, items: Iterable[int]) -> Self:
        """The same policy, none of whose paths holds one of `items`; raises as `Decoding.blocking` does."""
        return replace(self, catalogue=self.catalogue.blocking(items))

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.catalogue.trie.n_items

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        with self._autocast(prompts.target.device):
            paths = greedy(self.policy, self.catalogue, prompts.history, prompts.target, self._folds)
        return paths.items[:, 0]

    def samples(self, prompts: Prompts, n_samples: int, seed: int) -> torch.Tensor:
        """See `SamplingGuide.samples`."""
        uniforms = keyed_uniforms(seed, prompts.number, n_samples, self.catalogue.n_tokens)
        with self._autocast(prompts.target.device):
            paths = rollouts(
                self.policy, self.catalogue, prompts.history, prompts.target, uniforms, folds=self._folds
            )
        return paths.items

    def beams(self, prompts: Prompts, n_beams: int) -> torch.Tensor:
        """See `BeamGuide.beams`."""
        with self._autocast(prompts.target.device):
            paths = beams(self.policy, self.catalogue, prompts.history, prompts.target, n_beams, self._folds)
        return paths.items

    def live_beams(self, prompts: Prompts, n_beams: int) -> torch.Tensor:
        """See `LiveBeamGuide.live_beams`."""
        with self._autocast(prompts.target.device):
            paths = live_beams(
                self.policy, self.catalogue, prompts.history, prompts.target, n_beams, self._folds
            )
        return paths.items

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")
