"""Variants of the trainer by its settings, and what ends a training."""

import pytest
import torch
from safetensors import safe_open

from prorl.config.finetune import A2C, KL, ReferenceReset, StopOnErrors
from prorl.errors import TrainingError
from prorl.rl import trainer
from prorl.rl.diagnostics import GradientVariance
from prorl.rl.step import take_step, takes_part
from prorl.rl.trainer import is_reset_due
from prorl.simulators.protocol import Scores
from tests.rl.short_runs import N_ITEMS, LikesEvenItems, a_learner, run, some_prompts
from tests.tiny_models import FINETUNE, random_catalogue


@pytest.mark.parametrize(
    "estimator", ["reinforce", "reward_to_go", "grpo", "a2c", "leave_one_out", "prefix_specific"]
)
def test_every_estimator_raises_the_reward(tmp_path, estimator):
    settings = FINETUNE.replace(
        estimator=estimator, steps=20, n_rollouts=8, learning_rate=1e-2, centering_steps=2
    )
    _, result, rows = run(tmp_path, settings, LikesEvenItems())
    assert result["validation"]["ioi"] > result["validation_initial"]["ioi"] + 0.5
    assert ("train/value_loss" in rows[1]["values"]) == (estimator == "a2c")


def weights(module):
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def test_in_its_warm_up_the_critic_alone_learns():
    learner = a_learner(FINETUNE.replace(estimator="a2c"))
    policy, critic = weights(learner.policy), weights(learner.estimator.critic)
    alone = take_step(learner, some_prompts(), centering=True, seed=1, warming_up=True)
    assert alone["train/gradient_norm"] == alone["train/gradient_variance"] == 0
    assert all(torch.equal(weight, learner.policy.state_dict()[name]) for name, weight in policy.items())
    assert not any(
        torch.equal(weight, learner.estimator.critic.state_dict()[name]) for name, weight in critic.items()
    )
    again = take_step(learner, some_prompts(), centering=False, seed=1)
    assert again["train/value_loss"] < alone["train/value_loss"]  # on the same rollouts
    assert not torch.equal(policy["shared.weight"], learner.policy.shared.weight)


def test_in_the_critics_warm_up_no_gradient_of_the_policy_is_watched(monkeypatch):
    def watch(*_):
        raise AssertionError("the policy has none")

    monkeypatch.setattr(GradientVariance, "watch", watch)
    learner = a_learner(FINETUNE.replace(estimator="a2c"))
    take_step(learner, some_prompts(), centering=True, seed=1, warming_up=True)


def test_the_critics_warm_up_is_the_first_steps(tmp_path, monkeypatch):
    alone = []

    def remember(*args, warming_up, **options):
        alone.append(warming_up)
        return take_step(*args, warming_up=warming_up, **options)

    monkeypatch.setattr(trainer, "take_step", remember)
    run(
        tmp_path,
        FINETUNE.replace(steps=5, estimator="a2c", a2c=A2C(hidden_size=8, warmup_steps=3, coefficient=0.25)),
    )
    assert alone == [True] * 3 + [False] * 2


def test_further_updates_on_the_same_rollouts_are_clipped_where_they_go_far():
    def values(**changes):
        return take_step(
            a_learner(FINETUNE.replace(embedding_learning_rate=1e-9, **changes)),
            some_prompts(),
            centering=True,
            seed=1,
        )

    once = values(learning_rate=1e-9)
    standing = values(learning_rate=1e-9, updates_per_rollout=3)
    assert standing["train/gradient_norm"] == pytest.approx(once["train/gradient_norm"], rel=1e-4)
    assert once["train/clip_share"] == standing["train/clip_share"] == 0
    moving = values(learning_rate=3e-2, updates_per_rollout=3)
    assert 0 < moving["train/clip_share"] < 0.9


def test_running_moments_are_never_frozen(tmp_path, monkeypatch):
    counts = []

    def remember(learner, *args, **options):
        row = take_step(learner, *args, **options)
        counts.append(learner.moments["ioi"].count.item())
        return row

    monkeypatch.setattr(trainer, "take_step", remember)
    run(tmp_path, FINETUNE.replace(centering="running"))
    assert counts == sorted(set(counts))
    assert len(counts) == 10


@pytest.mark.parametrize("centering", [{"centering": "none"}, {"centering": "fixed_offset", "offset": 5.0}])
def test_without_centering_a_step_more_is_worth_more_unless_an_offset_takes_it(centering):
    """Under reward-to-go the mean advantage is that of the rewards themselves."""
    learner = a_learner(FINETUNE.replace(estimator="reward_to_go", **centering))
    learner.simulator = LikesEvenItems()
    values = take_step(learner, some_prompts(), centering=True, seed=1)
    # The loss is -A log pi: with all advantages positive it is positive, with all negative it is negative.
    assert (values["train/loss"] > 0) == (centering["centering"] == "none")


def test_who_takes_part():
    length = torch.tensor([[2, 0, 1], [1, 1, 0]])
    returns = torch.tensor([[1.0, 0.0, 1.0], [2.0, 3.0, 0.0]])
    assert takes_part(length, returns, FINETUNE).all()
    drop = FINETUNE.replace(empty_paths="drop")
    assert takes_part(length, returns, drop).tolist() == [[True, False, True], [True, True, False]]
    # Of the first prompt's, those that are not empty have the same return.
    assert takes_part(length, returns, drop.replace(skip_alike=True)).tolist() == [
        [False] * 3,
        [True, True, False],
    ]
    assert takes_part(length, returns, FINETUNE.replace(skip_alike=True)).all()


def test_resets_of_the_reference():
    every, stalled = ReferenceReset(every=3), ReferenceReset(stalled=2)
    assert [step for step in range(1, 8) if is_reset_due(every, step, 9)] == [3, 6]
    assert [is_reset_due(stalled, 5, n) for n in (0, 1, 2)] == [False, False, True]


def test_after_a_reset_the_policy_is_held_to_what_it_then_was(tmp_path):
    settings = FINETUNE.replace(learning_rate=1e-2, reference_reset={"every": 4})
    rows = run(tmp_path, settings)[2]
    kl = [row["values"]["train/kl"] for row in rows[1:]]
    assert [round(kl[step - 1], 5) == 0 for step in range(1, 11)] == [
        step in (1, 5, 9) for step in range(1, 11)
    ]


def test_the_kl_coefficient_follows_its_target(tmp_path):
    rows = run(
        tmp_path,
        FINETUNE.replace(learning_rate=1e-2, kl=KL(estimator="exact", coefficient=0.1, target=0.001)),
    )[2]
    coefficients = [row["values"]["train/kl_coefficient"] for row in rows[1:]]
    assert coefficients[:2] == pytest.approx([0.1, 0.098])  # no KL yet
    assert coefficients[-1] / coefficients[-2] == pytest.approx(1.02)


def test_the_kl_coefficient_waits_while_the_critic_learns_alone(tmp_path):
    critic = A2C(hidden_size=8, warmup_steps=3, coefficient=0.25)
    rows = run(
        tmp_path,
        FINETUNE.replace(
            steps=5, estimator="a2c", a2c=critic, kl=KL(estimator="exact", coefficient=0.1, target=0.001)
        ),
    )[2]
    assert [row["values"]["train/kl_coefficient"] for row in rows[1:]] == pytest.approx([0.1] * 4 + [0.098])


def test_too_many_errors_on_end_stop_a_training(tmp_path, monkeypatch):
    errors = iter([0.6, 0.5, 0.6, 0.7, 0.0])

    def spoilt(*args, **options):
        return take_step(*args, **options) | {"train/error": next(errors)}

    monkeypatch.setattr(trainer, "take_step", spoilt)
    stop = StopOnErrors(min_valid_share=0.5, patience=2)
    _, result, rows = run(tmp_path, FINETUNE.replace(stop_on_errors=stop))
    assert (result["stopped"], result["steps"]) == ("errors", 4)
    assert "validation/ioi" in rows[-1]["values"]


RELEASED = {
    "item_log_prob": "mean",
    "kl": KL(estimator="k1", coefficient=0.01, target=None),
    "empty_paths": "drop",
}


def anything_goes():
    """Unconstrained decoding, under which a random policy hardly ever writes an item."""
    return random_catalogue(N_ITEMS, constrained=False, min_length=0, n_levels=1, codebook_size=32)


@pytest.mark.parametrize("estimator", ["position_specific", "a2c"])
def test_under_unconstrained_decoding_non_items_are_unlearnt(tmp_path, estimator):
    settings = FINETUNE.replace(
        **RELEASED,
        estimator=estimator,
        steps=30,
        n_rollouts=8,
        learning_rate=1e-2,
        embedding_learning_rate=1e-2,
    )
    _, result, rows = run(tmp_path, settings, LikesEvenItems(), anything_goes())
    errors = [row["values"]["train/error"] for row in rows[1:]]
    assert errors[0] > 0.05
    assert sum(errors[-5:]) / 5 < 0.5 * errors[0]
    assert result["stopped"] == "steps"


def test_a_training_that_writes_too_few_items_stops_and_stays_stopped(tmp_path):
    settings = FINETUNE.replace(
        **RELEASED, stop_on_errors=StopOnErrors(min_valid_share=1.0, patience=3), learning_rate=1e-6
    )
    _, result, rows = run(tmp_path, settings, LikesEvenItems(), anything_goes())
    assert (result["stopped"], result["steps"]) == ("errors", 3)
    assert "validation/ioi" in rows[-1]["values"]
    _, again, same_rows = run(tmp_path, settings, LikesEvenItems(), anything_goes())
    assert (again, same_rows) == (result, rows)


class Fails(LikesEvenItems):
    """Users whose answers are no numbers from their sixth batch of rollouts on."""

    batches = 0

    def score(self, history, path, target, *, ends=False):
        scores = super().score(history, path, target, ends=ends)
        self.batches += (
            path.shape[1] == FINETUNE.n_rollouts
        )  # not in validation, whose paths are one a prompt
        return (
            scores
            if self.batches <= 5
            else Scores(scores.log_prob * torch.nan, scores.rank, scores.acceptance)
        )


def test_a_loss_that_is_not_finite_ends_the_run_before_anything_is_spoilt(tmp_path):
    with pytest.raises(
        TrainingError, match=r"the loss is nan, at step 6; last good checkpoint: .*/checkpoint\.safetensors"
    ):
        run(tmp_path, simulator=Fails())
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as stored:
        assert all(stored.get_tensor(name).isfinite().all() for name in stored.keys())  # noqa: SIM118


class Indifferent(LikesEvenItems):
    """Users whom nothing moves."""

    def score(self, history, path, target, *, ends=False):
        scores = super().score(history, path, target, ends=ends)
        return Scores(
            torch.full_like(scores.log_prob, -5.0), torch.full_like(scores.rank, 20), scores.acceptance * 0
        )


def test_a_step_without_any_path_ends_the_run(tmp_path):
    with pytest.raises(
        TrainingError, match=r"no path takes part: .*, at step 1; last good checkpoint: none yet"
    ):
        run(tmp_path, FINETUNE.replace(skip_alike=True), Indifferent())
