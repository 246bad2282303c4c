"""Holds what a training step changes, and what it learns from. All that changes is in the checkpoint."""

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather
from torch import nn
from torch.optim.swa_utils import AveragedModel

from prorl.checkpoint import Modules
from prorl.config.finetune import Finetune
from prorl.config.policy import ctr_factor
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Prompts
from prorl.rl.centering import Moments, collected
from prorl.rl.estimators import Estimator, new_estimator, require_expectable
from prorl.rl.rewards import RatedPaths, StepRewards, require_rewards, rewards_with
from prorl.simulators.protocol import Simulator
from prorl.t5.model import T5
from prorl.training import adamw

MOMENT_PARTS = ("count", "mean", "squares")


@dataclass
class Learner:
    """A policy in training, as `Resumable`.

    attribute_words: each item's attributes as bits, int64 [n+1, w]. headline: the acceptance that settings
    are given for, None where the policy is told none. weights: those of the rewards now. moments_at: moments
    of the rewards that take part, by the acceptance. averaged: the average of the policy's weights, where
    settings ask for one.
    """

    run: Accelerator
    policy: T5
    optimizer: torch.optim.Optimizer
    reference: T5
    catalogue: Catalogue
    simulator: Simulator
    attribute_words: torch.Tensor
    settings: Finetune
    headline: float | None
    weights: dict[str, float]
    moments_at: dict[float | None, dict[str, Moments]]
    kl_coefficient: float
    estimator: Estimator
    averaged: AveragedModel | None = None

    @classmethod
    def of(
        cls,
        run: Accelerator,
        policy: T5,
        catalogue: Catalogue,
        simulator: Simulator,
        attribute_words: np.ndarray,
        settings: Finetune,
        seed: int,
    ) -> "Learner":
        """A learner at its first step, with `policy` as its own reference.

        attribute_words [n+1, w]: as `prorl.paths.mining.attribute_words` gives them. Raises `ConfigError`
        where `settings` name an estimator or a reward that there is not, or an estimator that asks more than
        simulator, decoding or loss can give.
        """
        require_rewards(settings.weights)
        policy.to(run.device).eval()
        reference = copy.deepcopy(policy).requires_grad_(False)
        own_rates = {policy.shared.weight: settings.embedding_learning_rate}
        optimizer = run.prepare(adamw(policy, settings.learning_rate, settings.weight_decay, own_rates))
        none = Moments.of(torch.zeros(0, device=run.device))
        moments = {
            acceptance: dict.fromkeys(rewards_with(settings.weights), none)
            for acceptance in catalogue.acceptances or (None,)
        }
        estimator = new_estimator(settings, policy.sizes.d_model, seed, run.device)
        words = torch.from_numpy(attribute_words.view(np.int64)).to(run.device)
        require_expectable(estimator, settings, catalogue.decoding, simulator)
        return cls(
            run, policy, optimizer, reference, catalogue.to(run.device), simulator, words, settings,
            catalogue.acceptance, settings.weights, moments, settings.kl.coefficient, estimator,
            None if settings.weight_averaging is None else averaged_with(policy, settings.weight_averaging),
        )  # fmt: skip

    def tell(self, acceptance: float | None) -> None:
        """Let the policy be told `acceptance` from now on, and the CTR reward weigh accordingly."""
        self.catalogue = self.catalogue.at(acceptance)
        if acceptance is not None and self.headline is not None:
            factor = {"ctr": ctr_factor(acceptance, self.headline)}
            self.weights = {n: factor.get(n, 1.0) * weight for n, weight in self.settings.weights.items()}

    @property
    def moments(self) -> dict[str, Moments]:
        """The moments of the rewards at what the policy is told now."""
        return self.moments_at[self.catalogue.acceptance]

    @property
    def kept(self) -> T5:
        """The policy that is judged and kept: the average of its weights where there is one."""
        return self.policy if self.averaged is None else cast(T5, self.averaged.module)

    def average(self) -> None:
        """Add the policy's weights, as a step has left them, to their average."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.policy)

    def rated(self, prompts: Prompts, items: torch.Tensor) -> RatedPaths:
        """What rewards may know of paths `items` [b, m, t] of `prompts`."""
        scores = self.simulator.score(prompts.history, items, prompts.target)
        return RatedPaths(items, prompts.target, scores, self.attribute_words)

    def collect(self, rewards: StepRewards) -> None:
        """Add the rewards of all processes to the moments, in the order of the processes."""
        own = self.moments
        for name, moments in collected(rewards).items():
            packed = gather(torch.stack([getattr(moments, part) for part in MOMENT_PARTS])[None])
            for row in packed:
                own[name] = own[name].merged(Moments(*row))

    def reset_reference(self, optimiser: bool = False) -> None:
        """Hold the policy, from now on, to what it is now; an `optimiser` reset too forgets its moments."""
        self.reference.load_state_dict(self.policy.state_dict())
        if optimiser:
            self.optimizer.state.clear()

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that changes, by name."""
        moments = {
            f"moments/{acceptance}/{name}/{part}": getattr(m, part)
            for acceptance, own in self.moments_at.items()
            for name, m in own.items()
            for part in MOMENT_PARTS
        }
        coefficient = torch.tensor(self.kl_coefficient, dtype=torch.float64)
        own = self._modules.tensors() | self.estimator.tensors()
        return {**own, **moments, "kl_coefficient": coefficient}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave."""
        self._modules.restore(tensors)
        self.estimator.restore(tensors)
        for acceptance, own in self.moments_at.items():
            for name in own:
                key = f"moments/{acceptance}/{name}"
                own[name] = Moments(*(tensors[f"{key}/{part}"].to(self.run.device) for part in MOMENT_PARTS))
        self.kl_coefficient = tensors["kl_coefficient"].item()

    @property
    def _modules(self) -> Modules:
        modules: dict[str, nn.Module | torch.optim.Optimizer]
        modules = {"model": self.policy, "optimizer": self.optimizer}
        if self.settings.reference_reset is not None:
            modules["reference"] = self.reference
        if self.averaged is not None:
            modules["averaged"] = self.averaged
        return Modules(modules)


def averaged_with(policy: T5, decay: float) -> AveragedModel:
    """An average of the weights that `policy` is given from now on, each of 1 / `decay` the weight of the one
    before it.

    Its first steps count alike: 1 - `decay` of the newest would leave the average where training starts.
    """

    def nearer(average: torch.Tensor, new: torch.Tensor, n_averaged: torch.Tensor | int) -> torch.Tensor:
        return average.lerp(new, max(1 - decay, 1 / (int(n_averaged) + 1)))

    return AveragedModel(policy, avg_fn=nearer).requires_grad_(False)
