"""The critic of advantage actor-critic (A2C, Mnih et al. 2016): what a path is still worth, read from the
decoder's state.

As ProRL (arXiv 2605.28293) compares it: two layers on the decoder state at an item boundary, a warm-up in
which it learns alone, and a loss of its own weight beside the policy's. After the warm-up its loss reaches
the decoder too, as in the source.
"""

from dataclasses import dataclass

import torch
from torch import nn

from prorl.config.finetune import Finetune
from prorl.training import adamw


class Critic(nn.Module):
    """V(s): the expected reward-to-go at decoder states."""

    def __init__(self, d_model: int, hidden_size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_model, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 1))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Values [r] of decoder states [r, d], in float32."""
        with torch.autocast(states.device.type, enabled=False):
            return self.layers(states.float())[:, 0]


@dataclass(frozen=True)
class CriticLearner:
    """A critic and its optimiser."""

    critic: Critic
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, settings: Finetune, d_model: int, seed: int, device: torch.device) -> "CriticLearner | None":
        """A new critic with weights drawn by `seed`; None where the estimator has none."""
        if settings.estimator != "a2c":
            return None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            critic = Critic(d_model, settings.a2c.hidden_size).to(device)
        return cls(critic, adamw(critic, settings.learning_rate, settings.weight_decay))


def value_loss(to_go: torch.Tensor, values: torch.Tensor, n_paths: int) -> torch.Tensor:
    """(1 / paths) sum over actions of (G - V)^2, from the reward-to-go [p] and the critic's values [p]."""
    return (to_go - values).square().sum() / n_paths
