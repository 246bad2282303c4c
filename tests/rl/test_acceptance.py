"""Fine-tuning of a policy that is told how much acceptance counts."""

from dataclasses import replace

import pytest
import torch

from prorl.config.section import ConfigError
from prorl.policy.guide import PolicyGuide
from prorl.rl.step import take_step
from tests.rl.short_runs import N_ITEMS, RULES, a_learner, run, some_prompts
from tests.tiny_models import FINETUNE, random_catalogue

TOLD = {"acceptances": (0.0, 0.5, 1.0), "acceptance": 0.5}
SETTINGS = FINETUNE.replace(steps=40, centering_steps=4, weights={"ctr": 2.0, "ioi": 1.0, "ior": 0.5})


def told_catalogue():
    return replace(random_catalogue(N_ITEMS, forbid=RULES, target_tokens="separate"), **TOLD)


def test_the_reward_of_acceptance_weighs_what_the_policy_is_told():
    learner = a_learner(SETTINGS, catalogue=told_catalogue())
    weights = []
    for acceptance in (0.0, 0.5, 1.0, 0.5):
        learner.tell(acceptance)
        assert learner.catalogue.acceptance == acceptance
        weights.append(learner.weights)
    assert weights[1] == weights[3] == SETTINGS.weights
    assert weights[0] == {"ctr": 0.5, "ioi": 1.0, "ior": 0.5}
    assert weights[2] == {"ctr": 8.0, "ioi": 1.0, "ior": 0.5}


def test_moments_are_kept_apart_by_what_the_policy_is_told():
    learner = a_learner(SETTINGS, catalogue=told_catalogue())
    counts = []
    for step, acceptance in enumerate((0.5, 0.0, 0.5, 1.0), start=1):
        learner.tell(acceptance)
        take_step(learner, some_prompts(), centering=True, seed=step)
        counts.append({a: own["ioi"].count.item() for a, own in learner.moments_at.items()})
    assert counts[0][0.5] < counts[1][0.5] + 1 <= counts[2][0.5]
    assert counts[0][0.0] == counts[0][1.0] == counts[1][1.0] == 0
    assert min(counts[3].values()) > 0
    tensors = learner.tensors()
    other = a_learner(SETTINGS, catalogue=told_catalogue())
    other.restore(tensors)
    for acceptance, own in learner.moments_at.items():
        for name, moments in own.items():
            assert torch.equal(other.moments_at[acceptance][name].mean, moments.mean)


def test_a_policy_that_is_told_nothing_keeps_its_weights():
    learner = a_learner(SETTINGS)
    learner.tell(None)
    assert learner.weights == SETTINGS.weights


class LikesLowItems:
    """Users who accept the lower half of the items alone, which lead nowhere; the others lead on."""

    n_items = N_ITEMS

    def score(self, history, path, target, *, ends=False):
        from prorl.simulators.protocol import Scores

        low = (path <= N_ITEMS // 2) & (path > 0)
        moved = 0.5 * ((path > 0) & ~low)
        so_far = torch.cat([torch.zeros_like(moved[..., :1]), moved.cumsum(-1)], dim=-1)
        so_far = so_far[..., [0, -1]] if ends else so_far
        return Scores(log_prob=so_far - 5.0, rank=(20 - 2 * so_far).long(), acceptance=0.9 * low)


def test_training_makes_a_policy_that_follows_what_it_is_told(tmp_path):
    settings = SETTINGS.replace(
        weights={"ctr": 1.0, "ioi": 1.0, "ior": 0.0}, learning_rate=1e-2, embedding_learning_rate=1e-1,
        n_rollouts=8, prompts_per_step=10, steps=60, kl=SETTINGS.kl.replace(coefficient=0.0),
        select_on={"ioi": 1.0},
    )  # fmt: skip
    catalogue = replace(told_catalogue(), acceptances=(0.0, 1.0), acceptance=0.0)
    policy, _, _ = run(tmp_path, settings, LikesLowItems(), catalogue)
    prompts = some_prompts(20)
    shares = []
    for acceptance in catalogue.acceptances:
        paths = PolicyGuide(policy, catalogue).told(acceptance).paths(prompts)
        shares.append(((paths <= N_ITEMS // 2) & (paths > 0)).sum().item() / (paths > 0).sum().item())
    assert shares[0] + 0.2 < shares[1]


def test_a_warm_up_too_short_to_tell_everything_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"finetune\.centering_steps: 3, allowed: at least 4, in which"):
        run(tmp_path, SETTINGS.replace(centering_steps=3), catalogue=told_catalogue())
