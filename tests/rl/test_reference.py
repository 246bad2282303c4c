"""What the policy is held to: the reference at the policy's own temperature, and its resets."""

import pytest

from tests.rl.short_runs import LikesEvenItems, run
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
