"""Estimators of advantages by name: how much better than expected an action was, the critic's among them.

Source: ProRL (arXiv 2605.28293) compares those up to `position_specific`. `finetune.estimator` names one of
`ESTIMATORS`, or a `Factory` from outside the library as `module:attribute`; the training knows it by the
protocol `Estimator` alone.
Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions (flat [b * m * (t+1)]), `d` width of a
decoder state.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from accelerate import Accelerator

from prorl.checkpoint import Resumable
from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.section import ConfigError
from prorl.registries import entry
from prorl.rl.advantages import (
    against_others,
    group_relative,
    leave_one_out,
    position_specific,
    prefix_specific,
    reinforce,
    without_baseline,
)
from prorl.rl.critic import CriticEstimator
from prorl.simulators.protocol import Simulator, branching


class Estimator(Resumable, Protocol):
    """Gives advantages, and may learn something of its own beside the policy."""

    @property
    def warmup_steps(self) -> int:
        """The first steps, in which it learns alone and the policy stays as it is."""
        ...

    @property
    def loss_name(self) -> str | None:
        """What the curves call its own loss; None where it has none."""
        ...

    @property
    def coefficient(self) -> float:
        """Weight of its own loss beside the policy's."""
        ...

    def advantages(self, to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
        """Advantages [b, m, t+1], 0 where a rollout does not act, as far as they follow from the reward-to-go
        and from who acts where, both [b, m, t+1].
        """
        ...

    def read(
        self, states: torch.Tensor, to_go: torch.Tensor, acts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A baseline [p], or one number, that is taken from the advantages; and the estimator's own loss,
        summed over the actions that are made.

        Both are read from decoder states [b, m, .., d] at the item boundaries, which may end behind the last
        action. to_go and acts are [p]. The baseline counts in the first update on a pass alone.
        """
        ...

    def step(self, run: Accelerator, gradient_clip: float) -> None:
        """One optimiser step of its own, along the sum of the processes' gradients."""
        ...


@runtime_checkable
class Expecting(Estimator, Protocol):
    """An estimator for which the immediate part of the policy gradient is an expectation, see
    `prorl.rl.prospects`; the reward-to-go that it is given is what that leaves.
    """

    @property
    def n_items_expected(self) -> int:
        """The likeliest items at each prefix that the expectation is over."""
        ...


@dataclass(frozen=True)
class OfRewards:
    """An estimator whose advantages follow from rewards alone, by `function`; it learns nothing."""

    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    warmup_steps: int = 0
    loss_name: str | None = None
    coefficient: float = 0.0

    def advantages(self, to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
        """See `Estimator.advantages`."""
        return self.function(to_go, acts)

    def read(
        self, states: torch.Tensor, to_go: torch.Tensor, acts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Nothing."""
        nothing = torch.zeros((), device=states.device)
        return nothing, nothing

    def step(self, run: Accelerator, gradient_clip: float) -> None:
        """Nothing is learnt."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Nothing changes."""
        return {}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Nothing has changed."""


@dataclass(frozen=True)
class OfRewardsToCome(OfRewards):
    """`OfRewards` of what comes after an action, beside the expectation of what it brings at once, over
    `n_items_expected` items.
    """

    n_items_expected: int = 1


Factory = Callable[[Finetune, int, int, torch.device], Estimator]


def of_rewards(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Factory:
    """The entry in `ESTIMATORS` of advantages [b, m, t+1] by a function of `to_go` and `acts`."""
    return lambda settings, d_model, seed, device: OfRewards(function)


ESTIMATORS: dict[str, Factory] = {
    "reinforce": of_rewards(reinforce),
    "reward_to_go": of_rewards(without_baseline),
    "grpo": of_rewards(group_relative),
    "a2c": CriticEstimator.of,
    "position_specific": of_rewards(position_specific),
    "leave_one_out": of_rewards(leave_one_out),
    "prefix_specific": lambda settings, d_model, seed, device: OfRewards(
        functools.partial(prefix_specific, gamma=settings.gamma)
    ),
    "expected": lambda settings, d_model, seed, device: OfRewardsToCome(
        against_others, n_items_expected=settings.expected.items
    ),
}


def new_estimator(settings: Finetune, d_model: int, seed: int, device: torch.device) -> Estimator:
    """The estimator that `settings` name, for a policy of width `d_model`. Raises `ConfigError` for none."""
    key = "params.yaml: finetune.estimator"
    factory = entry(ESTIMATORS, settings.estimator, key)
    if not callable(factory):
        found = f"got {settings.estimator!r}, a {type(factory).__name__}"
        raise ConfigError(f"{key}: {found}, allowed: what is called as those of ESTIMATORS are")
    return cast(Estimator, factory(settings, d_model, seed, device))


def require_expectable(
    estimator: Estimator, settings: Finetune, decoding: Decoding, simulator: Simulator
) -> None:
    """Raises `ConfigError` where `estimator` is `Expecting` and the simulator does not branch, or decoding or
    the loss is such that its expectation would not be that of the policy gradient.
    """
    if not isinstance(estimator, Expecting):
        return
    key = f"params.yaml: finetune.estimator: {settings.estimator}"
    branching(simulator, settings.simulator, key)
    needed = (decoding.constrained, settings.item_log_prob == "sum", settings.updates_per_rollout == 1)
    if not all(needed):
        raise ConfigError(
            f"{key}: allowed where decoding.constrained is true, finetune.item_log_prob sum and "
            "finetune.updates_per_rollout 1"
        )
