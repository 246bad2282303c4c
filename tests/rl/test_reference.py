"""What the policy is held to: the reference at the policy's own temperature, and its resets."""

import pytest
import torch

from prorl.rl.learner import Learner
from tests.rl.short_runs import LikesEvenItems, a_learner, run
from tests.tiny_models import FINETUNE


def kl_by_step(rows):
    return [row["values"]["train/kl"] for row in rows[1:]]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_at_any_temperature_the_policy_starts_at_its_reference(tmp_path, temperature):
    settings = FINETUNE.replace(steps=2, temperature=temperature, learning_rate=1e-2)
    first, second = kl_by_step(run(tmp_path, settings)[2])
    assert first == pytest.approx(0.0, abs=1e-5)
    assert second > 1e-3


def test_validations_without_a_better_score_are_counted_anew_after_a_reset(tmp_path):
    """The error of constrained decoding is always 0, so that no validation is better than the first."""
    settings = FINETUNE.replace(
        evaluate_every=1, select_on={"error": 1.0}, reference_reset={"stalled": 3}, learning_rate=1e-2
    )
    kl = kl_by_step(run(tmp_path, settings, LikesEvenItems())[2])
    # The reference is reset behind steps 4 and 7.
    assert [step for step, value in enumerate(kl, 1) if round(value, 5) == 0] == [1, 5, 8]


@pytest.mark.parametrize("optimiser", [False, True])
def test_a_reset_may_start_the_optimiser_anew(tmp_path, monkeypatch, optimiser):
    """The optimiser counts its steps: all of them, or those since the last reset."""
    learners = []
    reset = Learner.reset_reference

    def watched(learner, optimiser):
        reset(learner, optimiser)
        learners.append(learner)

    monkeypatch.setattr(Learner, "reset_reference", watched)
    settings = FINETUNE.replace(steps=10, reference_reset={"every": 4, "optimiser": optimiser})
    run(tmp_path, settings)
    counted = {int(state["step"]) for state in learners[-1].optimizer.state.values()}
    assert len(learners) == 2
    assert counted == {2 if optimiser else 10}


def test_the_first_update_after_a_reset_of_the_optimiser_is_that_of_a_new_one():
    learner = a_learner(FINETUNE.replace(learning_rate=1e-3, embedding_learning_rate=1e-3, weight_decay=0.0))
    weight = learner.policy.shared.weight
    for _ in range(5):
        weight.grad = torch.full_like(weight, 3.0)
        learner.optimizer.step()
    learner.reset_reference(optimiser=True)
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, -2.0)
    learner.optimizer.step()
    torch.testing.assert_close(weight.detach() - before, torch.full_like(weight, 1e-3), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(learner.reference.shared.weight, before)
