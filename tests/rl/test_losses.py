"""The loss and its gradient, against formulas written out and against all paths enumerated."""

import math
from itertools import product

import pytest
import torch
from torch.autograd import gradcheck

from prorl.config.finetune import Clip
from prorl.policy.actions import Actions, masked_log_softmax
from prorl.rl.advantages import acting, leave_one_out, position_specific, reward_to_go
from prorl.rl.kl import exact_kl
from prorl.rl.losses import clipped_policy_gradient, entropy, is_clipped, policy_gradient
from tests.policy import naive
from tests.tiny_models import random_catalogue, random_policy, written

ALLOWED = torch.tensor([[True, True, True, True], [True, False, True, False], [False, False, True, False]])


def logits(seed, *shape):
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_policy_gradient_by_hand():
    log_probs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantages = torch.tensor([2.0, -1.0, 4.0], requires_grad=True)
    loss = policy_gradient(advantages, log_probs, n_paths=2)
    assert loss.item() == pytest.approx(-(2 * -1 + -1 * -2 + 4 * -0.5) / 2)
    loss.backward()
    assert log_probs.grad.tolist() == [-1.0, 0.5, -2.0]
    assert advantages.grad is None  # a reward is not differentiated


CLIP = Clip(low=0.2, high=0.5)


def test_clipped_policy_gradient_by_hand():
    # Importance weights 1.2, 2, 0.5, 0.5; bounds 0.8 and 1.5.
    old = torch.tensor([0.5, 0.25, 0.5, 0.5]).log()
    new = torch.tensor([0.6, 0.5, 0.25, 0.25]).log().requires_grad_()
    advantages = torch.tensor([1.0, 2.0, -3.0, 4.0])
    loss = clipped_policy_gradient(advantages, new, old, CLIP, n_paths=2)
    assert loss.item() == pytest.approx(-(1.2 * 1 + 1.5 * 2 + 0.8 * -3 + 0.5 * 4) / 2)
    loss.backward()
    # d w A = w A; the second and third have gone far enough, the fourth may come back.
    torch.testing.assert_close(new.grad, -torch.tensor([1.2, 0.0, 0.0, 2.0]) / 2)
    assert is_clipped(advantages, new, old, CLIP).tolist() == [False, True, True, False]


def test_at_the_policy_that_sampled_the_clipped_gradient_is_the_policy_gradient():
    log_probs, advantages = logits(0, 7), logits(1, 7)
    gradients = []
    for loss in (policy_gradient, lambda a, x, n: clipped_policy_gradient(a, x, log_probs, CLIP, n)):
        x = log_probs.clone().requires_grad_()
        gradients.append(torch.autograd.grad(loss(advantages, x, 3), x)[0])
    torch.testing.assert_close(*gradients)


def test_the_gradient_of_the_entropy_equals_finite_differences():
    assert gradcheck(lambda x: entropy(masked_log_softmax(x, ALLOWED)), logits(0, 3, 4).requires_grad_())


def test_entropy_by_hand():
    log_probs = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]]).log()
    assert entropy(log_probs).tolist() == pytest.approx([1.5 * math.log(2), 0.0])


@pytest.fixture
def enumerable():
    """A policy with nine possible paths: three items are left, alone or in pairs; and all of them [9, 2]."""
    catalogue = random_catalogue(
        6, forbid=["repeats", "history", "target"], max_length=2, n_levels=2, codebook_size=3
    )
    history, target = torch.tensor([[1, 4, 4]]), torch.tensor([6])
    paths = torch.tensor(
        [path + [0] * (2 - len(path)) for path in naive.allowed_paths(catalogue, history[0], target[0])]
    )
    return catalogue, history, target, paths


def levels_log_probs(policy, catalogue, history, target, items):
    """For each level its actions and log-probabilities [r, c]."""
    b = len(items)
    actions = Actions.of_paths(catalogue, history.expand(b, -1), target.expand(b), written(catalogue, items))
    states = policy(catalogue.prompt_tokens(history, target).expand(b, -1), actions.decoder_tokens).flatten(
        0, 2
    )
    return [
        (taken, masked_log_softmax(policy.logits(states[taken.source], taken.ids), taken.allowed))
        for taken in actions.levels
    ]


def action_log_probs(policy, catalogue, history, target, items):
    """[b, m, t+1], differentiable."""
    total = torch.zeros(items.shape[0] * items.shape[1] * (items.shape[2] + 1), dtype=torch.float64)
    for taken, log_probs in levels_log_probs(policy, catalogue, history, target, items):
        total = total.index_add(0, taken.action, log_probs.gather(1, taken.chosen[:, None])[:, 0])
    return total.view(*items.shape[:2], -1)


def gradient_of(value, policy):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(policy.parameters()))])


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("estimator", [position_specific, leave_one_out])
def test_the_expected_gradient_is_the_true_one_shrunk_by_a_rollouts_share_in_its_own_baseline(
    enumerable, estimator, m
):
    """Every rollout acts at both positions here. Position-specific baselines hold its own return, so that the
    factor is (m - 1) / m exactly; those that leave it out give the true gradient itself.
    """
    catalogue, history, target, paths = enumerable
    policy = random_policy(catalogue, seed=2).double()
    # A step's reward depends on the path up to that step.
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(7, generator=generator).double(),
        torch.randn(7, 7, generator=generator).double(),
    )
    rewards = torch.stack([first[paths[:, 0]], second[paths[:, 0], paths[:, 1]] * (paths[:, 1] != 0)], dim=1)

    log_prob = action_log_probs(policy, catalogue, history, target, paths[None])[0].sum(-1)
    assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-9)
    true = gradient_of(-(log_prob.exp() * rewards.sum(1)).sum(), policy)

    groups = torch.tensor(list(product(range(len(paths)), repeat=m)))  # every outcome of m rollouts
    probability = log_prob.detach().exp()[groups].prod(1)
    items = paths[groups]
    advantages = estimator(reward_to_go(rewards[groups], 1.0), acting((items != 0).sum(-1), 2))
    log_probs = action_log_probs(policy, catalogue, history, target, items)
    expected = gradient_of(policy_gradient(advantages * probability[:, None, None], log_probs, m), policy)
    factor = (m - 1) / m if estimator is position_specific else 1.0
    torch.testing.assert_close(expected, true * factor, rtol=1e-8, atol=1e-12)
    assert true.norm() > 1e-2


def test_token_kl_over_sampled_paths_is_the_kl_of_paths_on_average(enumerable):
    catalogue, history, target, paths = enumerable
    policy, reference = random_policy(catalogue, seed=2).double(), random_policy(catalogue, seed=3).double()
    with torch.no_grad():
        ours, theirs = (
            action_log_probs(p, catalogue, history, target, paths[None])[0].sum(-1)
            for p in (policy, reference)
        )
        of_paths = torch.zeros(len(paths), dtype=torch.float64)
        levels = [levels_log_probs(p, catalogue, history, target, paths[None]) for p in (policy, reference)]
        for (taken, own), (_, other) in zip(*levels, strict=True):
            of_paths.index_add_(0, taken.action // 3, exact_kl(own, other))
    average = (ours.exp() * of_paths).sum()
    torch.testing.assert_close(average, (ours.exp() * (ours - theirs)).sum(), rtol=1e-9, atol=1e-12)
    assert average > 0.1
