"""The critic and its loss."""

import pytest
import torch

from prorl.rl.critic import Critic, CriticEstimator, squared_error
from tests.tiny_models import FINETUNE

CPU = torch.device("cpu")


def test_squared_error_by_hand():
    values = torch.tensor([1.0, 3.0, 0.0], requires_grad=True)
    error = squared_error(torch.tensor([2.0, 1.0, 0.0]), values)
    assert error.item() == 1 + 4 + 0
    error.backward()
    assert values.grad.tolist() == [-2.0, 4.0, 0.0]


def test_the_baseline_is_the_value_of_the_state_an_action_is_taken_in():
    """Two paths of at most two items; a state is its own value. The second path has one item."""
    estimator = CriticEstimator.of(FINETUNE, 1, 7, CPU)
    estimator.critic.forward = lambda states: states[:, 0]
    states = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])  # none behind the last item: nothing acts there
    acts = torch.tensor([[[True, True, False], [True, False, False]]])
    to_go = torch.tensor([[[5.0, 1.0, 0.0], [3.0, 0.0, 0.0]]])
    assert estimator.advantages(to_go, acts).tolist() == to_go.tolist()
    baseline, error = estimator.read(states, to_go.flatten(), acts.flatten())
    assert baseline.tolist() == [1.0, 2.0, 0.0, 3.0, 0.0, 0.0]
    assert error.item() == 4**2 + 1**2 + 0**2


def test_a_new_critic_leaves_other_random_numbers_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, again, other = (CriticEstimator.of(FINETUNE, 16, seed, CPU).critic for seed in (7, 7, 8))
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
    estimator = CriticEstimator.of(FINETUNE.replace(learning_rate=1e-2), 4, 0, CPU)
    losses = []
    for _ in range(100):
        loss = squared_error(to_go, estimator.critic(states)) / len(states)
        losses.append(loss.item())
        estimator.optimizer.zero_grad()
        loss.backward()
        estimator.optimizer.step()
    assert losses[0] > 1
    assert losses[-1] == pytest.approx(0, abs=0.2)
