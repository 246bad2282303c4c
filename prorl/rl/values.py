"""What steps are worth: raw step rewards centred or scaled, weighted and, if asked for, normalised within the
prompt.

Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

from dataclasses import replace

import torch

from prorl.rl.centering import centered, uncentered
from prorl.rl.learner import Learner
from prorl.rl.rewards import StepRewards

# Of a reward-to-go within a prompt, in deviations of its step reward over all prompts: rollouts that hardly
# differ are not blown up.
MIN_DEVIATION = 0.1


def step_values(learner: Learner, rewards: StepRewards) -> torch.Tensor:
    """What each step is worth, [b, m, t], by `finetune.centering`."""
    return _values(learner, rewards, learner.weights, learner.catalogue.decoding.max_length)


def values_by_reward(learner: Learner, rewards: StepRewards) -> dict[str, torch.Tensor]:
    """`step_values` of each reward of some weight by itself, unweighted, each [b, m, t]."""
    weights = learner.weights
    return {
        name: _values(learner, replace(rewards, values={name: values}), {name: 1.0}, 1)
        for name, values in rewards.values.items()
        if weights.get(name, 0.0) > 0
    }


def _values(
    learner: Learner, rewards: StepRewards, weights: dict[str, float], max_length: int
) -> torch.Tensor:
    settings = learner.settings
    if settings.centering in ("none", "fixed_offset"):
        return uncentered(rewards, learner.moments, weights, max_length, settings.offset or 0.0)
    averaged_alone = settings.centering == "averaged"
    return centered(rewards, learner.moments, weights, max_length, averaged_alone=averaged_alone)


def scales_within_prompts(
    to_go: dict[str, torch.Tensor], acts: torch.Tensor, weights: dict[str, float]
) -> dict[str, torch.Tensor]:
    """What each reward's `to_go` [b, m, t+1] is multiplied by, [b, 1, t+1]: its weight over its `deviation`
    among the prompt's rollouts that act at t.

    GDPO (arXiv 2601.05242) at each position. All rewards are then alike in size, so that a weight is not
    divided by the longest length, whatever the reward.
    """
    return {name: weights[name] / deviation(values, acts) for name, values in to_go.items()}


def deviation(to_go: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
    """The sample deviation of `to_go` [b, m, t+1] over the prompt's rollouts that act at t, [b, 1, t+1], at
    least `MIN_DEVIATION`; 1 where fewer than two act.
    """
    count = acts.sum(1, keepdim=True)
    mean = (to_go * acts).sum(1, keepdim=True) / count.clamp(min=1)
    squares = ((to_go - mean).square() * acts).sum(1, keepdim=True)
    found = (squares / (count - 1).clamp(min=1)).sqrt().clamp(min=MIN_DEVIATION)
    return torch.where(count > 1, found, 1.0)


def values_of_last(
    learner: Learner, rewards: StepRewards, scales: dict[str, torch.Tensor] | None
) -> torch.Tensor:
    """What the last step of paths [b, m, t] is worth, [b, m]; by `scales` [b, 1] where rewards are normalised
    within the prompt.
    """
    if scales is None:
        return step_values(learner, rewards)[..., -1]
    by_reward = values_by_reward(learner, rewards)
    return weighed({name: values[..., -1] for name, values in by_reward.items()}, scales)


def weighed(values: dict[str, torch.Tensor], scales: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum over rewards of `values` times their `scales`, which broadcast to them."""
    return torch.stack([values[name] * scale for name, scale in scales.items()]).sum(0)
