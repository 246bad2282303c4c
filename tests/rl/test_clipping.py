"""Which actions add no gradient any more, and what the clipped loss is not a function of."""

import pytest
import torch

from prorl.config.finetune import Clip
from prorl.rl.losses import clipped_policy_gradient, is_clipped

CLIP = Clip(low=0.2, high=0.3)


@pytest.mark.parametrize(
    ("advantage", "weight", "clipped"),
    [
        (0.5, 1.31, True),
        (0.5, 1.29, False),
        (0.5, 0.5, False),  # below the lower bound, but asked to rise
        (-0.5, 0.79, True),
        (-0.5, 0.81, False),
        (-0.5, 1.1, False),
        (-0.5, 1.5, False),  # above the upper bound, but asked to fall
        (0.0, 1.5, False),
        (0.0, 0.5, False),
    ],
)
def test_actions_are_clipped_beyond_the_bound_that_their_advantage_asks_for(advantage, weight, clipped):
    log_probs, advantages = torch.tensor([weight]).log().requires_grad_(), torch.tensor([advantage])
    old = torch.zeros(1)
    assert is_clipped(advantages, log_probs, old, CLIP).tolist() == [clipped]
    clipped_policy_gradient(advantages, log_probs, old, CLIP, 1).backward()
    assert log_probs.grad.item() == pytest.approx(0.0 if clipped else -advantage * weight)


def test_no_gradient_reaches_advantages_or_the_old_policy():
    advantages, log_probs, old = (torch.tensor([x], requires_grad=True) for x in (0.5, -1.0, -1.1))
    clipped_policy_gradient(advantages, log_probs, old, CLIP, 1).backward()
    assert log_probs.grad.item() != 0
    assert advantages.grad is None
    assert old.grad is None
