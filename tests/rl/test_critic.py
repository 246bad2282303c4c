"""The critic and its loss."""

import pytest
import torch

from prorl.rl.critic import Critic, CriticLearner, value_loss
from tests.tiny_models import FINETUNE


def test_value_loss_by_hand():
    values = torch.tensor([1.0, 3.0, 0.0], requires_grad=True)
    loss = value_loss(torch.tensor([2.0, 1.0, 0.0]), values, n_paths=2)
    assert loss.item() == (1 + 4 + 0) / 2
    loss.backward()
    assert values.grad.tolist() == [-1.0, 2.0, 0.0]


def test_a_critic_is_made_for_its_estimator_alone_and_leaves_other_random_numbers_as_they_are():
    cpu = torch.device("cpu")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert CriticLearner.of(FINETUNE, 16, 7, cpu) is None
    first, again, other = (
        CriticLearner.of(FINETUNE.replace(estimator="a2c"), 16, seed, cpu).critic for seed in (7, 7, 8)
    )
    assert torch.equal(torch.rand(2), expected)
    states = torch.randn(5, 16)
    assert torch.equal(first(states), again(states))
    assert not torch.equal(first(states), other(states))


def test_values_are_in_full_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert Critic(4, 8)(torch.randn(3, 4).bfloat16()).dtype == torch.float32


def test_a_critic_learns_the_value_of_states():
    torch.manual_seed(0)
    states = torch.randn(64, 4)
    to_go = states[:, 0] - 2 * states[:, 1]
    learner = CriticLearner.of(
        FINETUNE.replace(estimator="a2c", learning_rate=1e-2), 4, 0, torch.device("cpu")
    )
    losses = []
    for _ in range(100):
        loss = value_loss(to_go, learner.critic(states), len(states))
        losses.append(loss.item())
        learner.optimizer.zero_grad()
        loss.backward()
        learner.optimizer.step()
    assert losses[0] > 1
    assert losses[-1] == pytest.approx(0, abs=0.2)
