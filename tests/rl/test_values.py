"""Rewards normalised within the prompt, worked out by hand and against plain loops."""

import pytest
import torch

from prorl.rl.advantages import acting, leave_one_out, position_specific
from prorl.rl.estimators import OfRewards
from prorl.rl.rewards import StepRewards
from prorl.rl.step import take_step
from prorl.rl.values import (
    MIN_DEVIATION,
    deviation,
    scales_within_prompts,
    step_values,
    values_by_reward,
    weighed,
)
from tests.rl.short_runs import LikesEvenItems, a_learner, run, some_prompts
from tests.tiny_models import FINETUNE

LENGTH = torch.tensor([[2, 2, 1], [1, 0, 0]])
ACTS = acting(LENGTH, 3)
TO_GO = torch.tensor(
    [
        [[1.0, 5.0, 0.0, 0.0], [2.0, 5.01, 0.0, 0.0], [6.0, 0.0, 9.0, 9.0]],
        [[4.0, 3.0, 0.0, 0.0], [8.0, 0.0, 0.0, 0.0], [6.0, 0.0, 0.0, 0.0]],
    ]
)


def test_the_deviation_is_that_of_the_rollouts_that_act():
    found = deviation(TO_GO, ACTS)
    assert found.shape == (2, 1, 4)
    # t = 0: all act. t = 1: all act in the first prompt, rollout 0 alone in the second. t = 2: two stops.
    expected = [[7**0.5, TO_GO[0, :, 1].std().item(), MIN_DEVIATION, 1.0], [2.0, 1.0, 1.0, 1.0]]
    torch.testing.assert_close(found[:, 0], torch.tensor(expected))


def test_each_rewards_advantages_have_its_weight_as_their_deviation():
    generator = torch.Generator().manual_seed(0)
    to_go = {
        "ctr": 0.3 * torch.randn(5, 6, 4, generator=generator),
        "ioi": 40 * torch.randn(5, 6, 4, generator=generator),
    }
    acts = acting(torch.full((5, 6), 4), 4)[..., :4]
    scales = scales_within_prompts(to_go, acts, {"ctr": 2.0, "ioi": 0.5})
    parts = {name: position_specific(values * scales[name], acts) for name, values in to_go.items()}
    torch.testing.assert_close(parts["ctr"].std(1), torch.full((5, 4), 2.0))
    torch.testing.assert_close(parts["ioi"].std(1), torch.full((5, 4), 0.5))
    for estimator in (position_specific, leave_one_out):  # either way round it is the same
        apart = {name: estimator(values, acts) for name, values in to_go.items()}
        torch.testing.assert_close(estimator(weighed(to_go, scales), acts), weighed(apart, scales))


def some_rewards(learner):
    generator = torch.Generator().manual_seed(1)
    real = torch.ones(3, 4, 4, dtype=torch.bool)
    names = ("ctr", "ioi", "ior")
    values = {name: 3 * torch.randn(3, 4, 4, generator=generator) for name in names}
    rewards = StepRewards(values, real, torch.zeros_like(real))
    learner.collect(rewards)
    return rewards


def test_the_setting_says_which_rewards_are_centered():
    by_setting = {}
    for centering in ("warmup", "averaged", "none"):
        learner = a_learner(
            FINETUNE.replace(weights={"ctr": 6.0, "ioi": 1.0, "ior": 0.5}, centering=centering)
        )
        by_setting[centering] = values_by_reward(learner, some_rewards(learner))
    for name, as_in in {"ctr": "warmup", "ioi": "none", "ior": "none"}.items():
        torch.testing.assert_close(by_setting["averaged"][name], by_setting[as_in][name])


@pytest.mark.parametrize("centering", ["warmup", "averaged", "none"])
def test_step_values_are_the_weighted_sum_of_those_by_reward(centering):
    learner = a_learner(FINETUNE.replace(weights={"ctr": 6.0, "ioi": 0.0, "ior": 0.5}, centering=centering))
    rewards = some_rewards(learner)
    apart = values_by_reward(learner, rewards)
    assert list(apart) == ["ctr", "ior"]
    whole = 6.0 / 4 * apart["ctr"] + 0.5 * apart["ior"]
    torch.testing.assert_close(step_values(learner, rewards), whole)


def test_in_a_step_the_estimator_is_given_the_normalised_reward_to_go(monkeypatch):
    given = []

    def remember(self, to_go, acts):
        given.append((to_go, acts))
        return position_specific(to_go, acts)

    monkeypatch.setattr(OfRewards, "advantages", remember)
    weights = {"ctr": 0.0, "ioi": 2.0, "ior": 0.0}
    for normalise in ("none", "per_reward"):
        settings = FINETUNE.replace(normalise=normalise, weights=weights)
        take_step(a_learner(settings), some_prompts(), centering=True, seed=1)
    (plain, acts), (normalised, _) = given
    deviations = deviation(plain / 2, acts)
    assert ((acts.sum(1, keepdim=True) > 1) & (deviations > MIN_DEVIATION)).sum() > 10
    torch.testing.assert_close(normalised, plain / deviations)


def test_normalised_rewards_are_learnt_from(tmp_path):
    settings = FINETUNE.replace(
        normalise="per_reward", steps=20, n_rollouts=8, learning_rate=1e-2, centering_steps=2
    )
    result = run(tmp_path, settings, LikesEvenItems())[1]
    assert result["validation"]["ioi"] > result["validation_initial"]["ioi"] + 0.5
