"""The anchor's estimators: their means and expected gradients against sums over all choices, and the
coefficient that follows a target.
"""

import math

import pytest
import torch
from torch.autograd import gradcheck

from prorl.policy.actions import masked_log_softmax
from prorl.rl.kl import SAMPLED, adapted, exact_kl, k1, k2, k3

ALLOWED = torch.tensor([[True, True, True, True], [True, False, True, False], [False, False, True, False]])


def logits(seed, *shape):
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_exact_kl_equals_the_sum_over_choices():
    ours, theirs = masked_log_softmax(logits(0, 3, 4), ALLOWED), masked_log_softmax(logits(1, 3, 4), ALLOWED)
    expected = []
    for row in range(3):
        p, q = ours[row].exp().tolist(), theirs[row].exp().tolist()
        expected.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))
    assert exact_kl(ours, theirs).tolist() == pytest.approx(expected, abs=1e-12)
    assert expected[0] > 0.1
    assert expected[2] == 0  # one choice alone
    assert exact_kl(ours, ours).tolist() == [0, 0, 0]


def test_the_gradient_of_the_exact_kl_equals_finite_differences():
    reference = masked_log_softmax(logits(1, 3, 4), ALLOWED)
    assert gradcheck(
        lambda x: exact_kl(masked_log_softmax(x, ALLOWED), reference), logits(0, 3, 4).requires_grad_()
    )


def test_kl_of_equal_policies_pulls_nowhere():
    x = logits(0, 3, 4).requires_grad_()
    exact_kl(masked_log_softmax(x, ALLOWED), masked_log_softmax(x, ALLOWED).detach()).sum().backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_estimators_by_hand():
    ours, theirs = torch.tensor([0.5, 0.25]).log(), torch.tensor([0.25, 0.5]).log()
    torch.testing.assert_close(k1(ours, theirs), torch.tensor([2.0, 0.5]).log())
    torch.testing.assert_close(k2(ours, theirs), torch.full((2,), math.log(2) ** 2 / 2))
    torch.testing.assert_close(k3(ours, theirs), torch.tensor([0.5 - 1 + math.log(2), 2 - 1 - math.log(2)]))


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_the_mean_of_k1_and_k3_is_the_kl(name):
    ours, theirs = (logits(seed, 1, 6).log_softmax(-1) for seed in (0, 1))
    torch.testing.assert_close((ours.exp() * SAMPLED[name](ours, theirs)).sum(-1), exact_kl(ours, theirs))


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_expected_gradient_of_each_estimator_as_a_loss(name):
    """Zero for k1, which is no anchor; that of KL(pi || pi_0) for k2, of KL(pi_0 || pi) for k3."""
    theirs = logits(1, 6).log_softmax(-1)

    def gradient(loss):
        x = logits(0, 6).requires_grad_()
        return torch.autograd.grad(loss(x.log_softmax(-1)), x)[0]

    found = gradient(lambda ours: (ours.detach().exp() * SAMPLED[name](ours, theirs)).sum())
    expected = {
        "k1": torch.zeros(6, dtype=torch.float64),
        "k2": gradient(lambda ours: exact_kl(ours, theirs)),
        "k3": gradient(lambda ours: exact_kl(theirs, ours)),
    }[name]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kl", "target", "expected"),
    [
        (3.0, None, 0.5),
        (2.0, 2.0, 0.5),
        (2.2, 2.0, 0.505),  # a tenth above the target: a hundredth more
        (1.8, 2.0, 0.495),
        (9.0, 2.0, 0.51),  # no step is larger than 2 percent
        (0.0, 2.0, 0.49),
    ],
)
def test_the_coefficient_follows_the_target(kl, target, expected):
    assert adapted(0.5, kl, target) == pytest.approx(expected, rel=1e-12)
