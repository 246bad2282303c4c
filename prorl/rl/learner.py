"""What a training step changes, and what it learns from; all of it that changes is in the checkpoint."""

import copy
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from prorl.config.finetune import Finetune
from prorl.policy.catalogue import Catalogue
from prorl.rl.centering import REWARDS, Moments, collected
from prorl.rl.critic import CriticLearner
from prorl.rl.rewards import StepRewards
from prorl.runtime import derived_seed
from prorl.simulators.scoring import Simulator
from prorl.t5.model import T5
from prorl.training import adamw, pack, unpack

MOMENT_PARTS = ("count", "mean", "squares")


@dataclass
class Learner:
    """A policy in training; `critic` is None where the estimator has none."""

    run: Accelerator
    policy: T5
    optimizer: torch.optim.Optimizer
    reference: T5
    catalogue: Catalogue
    simulator: Simulator
    settings: Finetune
    moments: dict[str, Moments]
    kl_coefficient: float
    critic: CriticLearner | None

    @classmethod
    def of(
        cls,
        run: Accelerator,
        policy: T5,
        catalogue: Catalogue,
        simulator: Simulator,
        settings: Finetune,
        seed: int,
    ) -> "Learner":
        """A learner at its first step, with `policy` as its own reference."""
        policy.to(run.device).eval()
        reference = copy.deepcopy(policy).requires_grad_(False)
        own_rates = {policy.shared.weight: settings.embedding_learning_rate}
        optimizer = run.prepare(adamw(policy, settings.learning_rate, settings.weight_decay, own_rates))
        none = Moments.of(torch.zeros(0, device=run.device))
        critic = CriticLearner.of(settings, policy.sizes.d_model, derived_seed(seed, "critic"), run.device)
        return cls(
            run, policy, optimizer, reference, catalogue.to(run.device), simulator, settings,
            dict.fromkeys(REWARDS, none), settings.kl.coefficient, critic,
        )  # fmt: skip

    def collect(self, rewards: StepRewards) -> None:
        """Add the rewards of all processes to the moments, in the order of the processes."""
        for name, moments in collected(rewards).items():
            packed = gather(torch.stack([getattr(moments, part) for part in MOMENT_PARTS])[None])
            for row in packed:
                self.moments[name] = self.moments[name].merged(Moments(*row))

    def reset_reference(self) -> None:
        """Hold the policy, from now on, to what it is now."""
        self.reference.load_state_dict(self.policy.state_dict())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that changes, by name; the KL coefficient apart, which is a number."""
        tensors = {**pack("model", self.policy), **pack("optimizer", self.optimizer)}
        tensors |= {
            f"moments/{name}/{part}": getattr(m, part)
            for name, m in self.moments.items()
            for part in MOMENT_PARTS
        }
        if self.critic is not None:
            tensors |= {
                **pack("critic", self.critic.critic),
                **pack("critic_optimizer", self.critic.optimizer),
            }
        if self.settings.reference_reset is not None:
            tensors |= pack("reference", self.reference)
        return tensors

    def restore(self, tensors: dict[str, torch.Tensor], kl_coefficient: float) -> None:
        """Put back what `tensors` gave."""
        unpack("model", self.policy, tensors)
        unpack("optimizer", self.optimizer, tensors)
        self.moments = {
            name: Moments(*(tensors[f"moments/{name}/{part}"].to(self.run.device) for part in MOMENT_PARTS))
            for name in REWARDS
        }
        self.kl_coefficient = kl_coefficient
        if self.critic is not None:
            unpack("critic", self.critic.critic, tensors)
            unpack("critic_optimizer", self.critic.optimizer, tensors)
        if self.settings.reference_reset is not None:
            unpack("reference", self.reference, tensors)
