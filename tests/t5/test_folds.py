"""Folded layers are kept, but never those of other weights."""

import pytest
import torch

from prorl.t5.folded import FoldedT5
from prorl.t5.folds import Folds
from prorl.training import adamw
from tests.tiny_models import random_catalogue, random_policy

CATALOGUE = random_catalogue()


def frozen(seed=0):
    return random_policy(CATALOGUE, seed=seed).requires_grad_(False)


def matrices(folded):
    """All matrices of folded layers."""
    parts = [part for layer in (*folded.encoder, *folded.decoder) for part in layer]
    return [matrix for part in parts for matrix in vars(part).values()]


def of_single(layers):
    """All that a single path is decoded with."""
    return [matrix for layer in layers.layers for matrix in vars(layer).values()] + [
        layers.bias,
        layers.head,
        *matrices(layers.folded),
    ]


def assert_current(folds):
    """That `folds` gives what folding the policy now gives."""
    now, fresh = matrices(folds.folded()), matrices(FoldedT5.of(folds.policy))
    assert all(torch.equal(a, b) for a, b in zip(now, fresh, strict=True))
    now, fresh = of_single(folds.single(12)), of_single(Folds(folds.policy).single(12))
    assert all(torch.equal(a, b) for a, b in zip(now, fresh, strict=True))


def test_those_of_a_frozen_policy_are_kept():
    folds = Folds(frozen())
    folded, single = folds.folded(), folds.single(12)
    assert folds.folded() is folded
    assert folds.single(12) is single
    assert folds.single(16) is not single
    assert folds.single(16).bias.shape[0] == 16
    assert folds.folded() is folded


def test_each_precision_has_its_own():
    folds = Folds(frozen())
    folded = folds.folded()
    with torch.autocast("cpu", torch.bfloat16):
        lower = folds.folded()
        assert folds.folded() is lower
        assert folds.single(12).head.dtype == torch.float32
    assert lower.dtype == torch.bfloat16
    assert {matrix.dtype for matrix in matrices(lower)} == {torch.bfloat16}
    assert folds.folded() is folded


def written_over(policy):
    with torch.no_grad():
        policy.shared.weight[3] += 1


def loaded_into(policy):
    policy.load_state_dict(frozen(seed=1).state_dict())


def moved(policy):
    policy.shared.weight.data = policy.shared.weight.data + 1


def given_another_matrix(policy):
    norm = policy.decoder.final_layer_norm
    norm.weight = torch.nn.Parameter(2 * norm.weight, requires_grad=False)


def trained(policy):
    """One step of the optimiser that trainings use, whose writes are not counted, and frozen again."""
    policy.requires_grad_(True)
    optimizer, count = adamw(policy, 0.1, 0.0), policy.shared.weight._version
    policy.encode(torch.tensor([[1, 2]])).states.sum().backward()
    optimizer.step()
    assert policy.shared.weight._version == count
    policy.requires_grad_(False)


@pytest.mark.parametrize("change", [written_over, loaded_into, moved, given_another_matrix, trained])
def test_a_change_of_the_weights_is_noticed(change):
    folds = Folds(frozen())
    before = folds.folded(), folds.single(12)
    change(folds.policy)
    assert_current(folds)
    assert folds.folded() is not before[0]
    assert folds.single(12) is not before[1]


def test_weights_that_may_change_are_folded_anew_each_time():
    folds = Folds(random_policy(CATALOGUE))
    assert folds.folded() is not folds.folded()
    folds.policy.encoder.requires_grad_(False)
    assert folds.folded() is not folds.folded()
    for _ in range(3):
        folds.policy.shared.weight.data += 1  # which no count notices
        assert_current(folds)


def test_nothing_of_earlier_weights_is_held_when_they_have_changed():
    folds = Folds(frozen())
    for _ in range(3):
        folds.folded(), folds.single(12)
        written_over(folds.policy)
    folds.folded()
    assert len(folds._kept) == 1
