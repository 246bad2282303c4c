"""What the curves say, against plain loops and by hand."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from prorl.devices import accelerator
from prorl.rl.diagnostics import (
    GradientVariance,
    gradient_variance,
    pairwise_distance,
    rollout_curves,
    rollout_sums,
)
from prorl.rl.rewards import rewards_with, step_rewards
from prorl.simulators.protocol import Scores
from tests.rl.short_runs import rated
from tests.tiny_models import random_paths


def test_pairwise_distance_by_hand():
    # Sets {1, 2}, {2, 3}, {}: distances 2/3, 1, 1; and three empty paths.
    items = torch.tensor([[[1, 2, 1], [3, 2, -1], [0, 0, 0]], [[0, 0, 0]] * 3])
    assert pairwise_distance(items).tolist() == pytest.approx([(2 / 3 + 1 + 1) / 3, 0.0])


def test_pairwise_distance_equals_that_of_python_sets():
    items = random_paths(6, 5, 4, 7)
    for prompt, found in zip(items.tolist(), pairwise_distance(items).tolist(), strict=True):
        sets = [set(path) - {0} for path in prompt]
        distances = [
            1 - len(a & b) / len(a | b) if a | b else 0.0 for a, b in itertools.combinations(sets, 2)
        ]
        assert found == pytest.approx(sum(distances) / len(distances))


def test_curves_of_rollouts_by_hand():
    """Two paths of one prompt: an item, a non-item and the same item again; and the empty path."""
    items = torch.tensor([[[4, -1, 4], [0, 0, 0]]])
    scores = Scores(
        log_prob=torch.tensor([[[-5.0, -4.0, -4.0, -3.5], [-5.0] * 4]]),
        rank=torch.tensor([[[40, 30, 30, 25], [40] * 4]]),
        acceptance=torch.tensor([[[0.5, 0.0, 0.9], [0.0] * 3]]),
    )
    sums = rollout_sums(items, torch.tensor([[3, 0]]), step_rewards(rated(items, scores), rewards_with({})))
    curves = rollout_curves({name: value.item() for name, value in sums.items()}, n_paths=2)
    assert curves == pytest.approx(
        {
            "train/ioi": 0.75,
            "train/ior": 7.5,
            "train/ctr": 0.125,  # 0.5 and a repeat's 0 over two items, and 0
            "train/length": 1.5,
            "train/length_std": 1.5,
            "train/stopped": 0.5,
            "train/repeats": 0.5,
            "train/error": 1 / 3,
            "train/diversity": 1.0,
        }
    )


@pytest.mark.parametrize("m", [4, 5])
def test_the_gradient_variance_is_that_of_the_whole_gradient(m):
    """Prompts with independent gradients: the estimate's mean over many draws is the total variance of their
    mean.
    """
    generator = torch.Generator().manual_seed(0)
    n_weights, half, draws = 300, m // 2, 400
    gradients = 1 + 2 * torch.randn(draws, m, n_weights, generator=generator)
    found = [gradient_variance(g[:half].sum(0) / m, g[half:].sum(0) / m, half / m) for g in gradients]
    assert sum(found) / draws == pytest.approx(n_weights * 4 / m, rel=0.02)


@pytest.mark.parametrize("n_prompts", [1, 2, 5])
def test_the_gradient_that_is_watched_is_that_of_two_halves(n_prompts):
    """One weight for each prompt's gradient to add to; passes of one prompt each."""
    weight = torch.nn.Linear(3, 1, bias=False)
    variance = GradientVariance(weight, n_prompts, accelerator("float32"))
    assert variance.first_half.tolist() == [row < n_prompts // 2 for row in range(n_prompts)]
    gradients = torch.randn(n_prompts, 3, generator=torch.Generator().manual_seed(0))
    passes = [
        SimpleNamespace(first_half=half, x=x) for half, x in zip(variance.first_half, gradients, strict=True)
    ]
    for part in variance.watch(passes):
        weight(part.x).sum().backward()
    first = gradients[: n_prompts // 2].sum(0)
    share = (n_prompts // 2) / n_prompts
    expected = gradient_variance(first, gradients.sum(0) - first, share) if n_prompts > 1 else 0.0
    assert variance.value() == pytest.approx(expected, rel=1e-6)
    assert expected > 0 or n_prompts == 1
