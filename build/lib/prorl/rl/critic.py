"""The critic of advantage actor-critic (A2C, Mnih et al. 2016): reads from the decoder's state what a path is
still worth.

As ProRL (arXiv 2605.28293) compares it: two layers on the decoder state at an item boundary, a warm-up in
which it learns alone, and a loss of its own weight beside the policy's. After the warm-up its loss reaches
the decoder too, as in the source.
Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions (flat [b * m * (t+1)]), `a` actions made.
"""

from dataclasses import dataclass
from typing import Self, cast

import torch
from accelerate import Accelerator
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.finetune import Finetune
from prorl.devices import summed
from prorl.runtime import derived_seed
from prorl.training import adamw


class Critic(nn.Module):
    """V(s): the expected reward-to-go at decoder states."""

    def __init__(self, d_model: int, hidden_size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_model, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 1))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Values [a] of decoder states [a, d], in float32."""
        with torch.autocast(states.device.type, enabled=False):
            return self.layers(states.float())[:, 0]


@dataclass(frozen=True)
class CriticEstimator:
    """A[t] = G[t] - V(s[t]), with a critic V that learns beside the policy."""

    critic: Critic
    optimizer: torch.optim.Optimizer
    warmup_steps: int
    coefficient: float
    loss_name: str | None = "value_loss"

    @classmethod
    def of(cls, settings: Finetune, d_model: int, seed: int, device: torch.device) -> Self:
        """A new critic with weights drawn by `seed`; other random numbers stay as they are."""
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(seed, "critic"))
            critic = Critic(d_model, settings.a2c.hidden_size).to(device)
        optimizer = adamw(critic, settings.learning_rate, settings.weight_decay)
        return cls(critic, optimizer, settings.a2c.warmup_steps, settings.a2c.coefficient)

    def advantages(self, to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
        """G[t], [b, m, t+1]: V is taken off once the decoder's states are known."""
        return to_go * acts

    def read(
        self, states: torch.Tensor, to_go: torch.Tensor, acts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """V [p] of decoder states [b, m, .., d], 0 where a rollout does not act, and its `squared_error`."""
        b, m = states.shape[:2]
        values = self.critic(states[acts.view(b, m, -1).nonzero(as_tuple=True)])
        baseline = torch.zeros_like(to_go)
        baseline[acts] = values.detach()
        return baseline, squared_error(to_go[acts], values)

    def step(self, run: Accelerator, gradient_clip: float) -> None:
        """One step of the critic's optimiser, along the sum of the processes' gradients."""
        for parameter in self.critic.parameters():
            parameter.grad = summed(run, cast(torch.Tensor, parameter.grad))
        torch.nn.utils.clip_grad_norm_(self.critic.parameters(), gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Of the critic and its optimiser."""
        return self._modules.tensors()

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave."""
        self._modules.restore(tensors)

    @property
    def _modules(self) -> Modules:
        return Modules({"critic": self.critic, "critic_optimizer": self.optimizer})


def squared_error(to_go: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The sum over actions of (G - V)^2, from the reward-to-go [a] and the critic's values [a]."""
    return (to_go - values).square().sum()
