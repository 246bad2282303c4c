"""Fine-tuning: one step against its parts, learning, and continuing."""

import copy
import math
from collections import defaultdict

import pytest
import torch

from prorl.config.finetune import KL
from prorl.curves import Curves
from prorl.metrics import path_metrics
from prorl.policy.actions import Actions, masked_log_softmax
from prorl.rl import passes, trainer
from prorl.rl.advantages import acting, reward_to_go
from prorl.rl.centering import centered, collected
from prorl.rl.kl import SAMPLED
from prorl.rl.rewards import REWARDS, step_rewards
from prorl.rl.rollouts import draw
from prorl.rl.step import take_step
from prorl.rl.trainer import n_tokens as n_tokens_of
from prorl.training import adamw
from tests.rl.short_runs import LikesEvenItems, a_learner, advantages_by, run, some_prompts
from tests.tiny_models import FINETUNE, Killed, killed_at


def rewards_of(learner, prompts, paths):
    return step_rewards(learner.rated(prompts, paths.items), list(learner.moments))


@pytest.mark.parametrize(
    "variant",
    [
        {"kl": KL(estimator="exact", coefficient=0.3, target=None)},
        {
            "kl": KL(estimator="k3", coefficient=0.3, target=None),
            "item_log_prob": "mean",
            "entropy_bonus": 0.2,
            "estimator": "grpo",
        },
        {"kl": KL(estimator="k2", coefficient=0.3, target=None), "estimator": "reinforce"},
    ],
    ids=["default", "mean", "reinforce"],
)
def test_a_step_is_the_loss_of_its_parts(variant):
    """Everything computed again in one pass, token by token."""
    settings = FINETUNE.replace(
        gamma=0.9, n_rollouts=5, weights={"ctr": 0.7, "ioi": 1.3, "ior": 0.4, "coherence": 0.5}, **variant
    )
    learner, prompts = a_learner(settings), some_prompts()
    policy, catalogue = copy.deepcopy(learner.policy), learner.catalogue
    values = take_step(learner, prompts, centering=True, seed=1)

    paths = draw(policy, catalogue, prompts, 5, 1.0, seed=1)
    rewards = rewards_of(learner, prompts, paths)
    moments = collected(rewards)
    assert list(learner.moments) == list(REWARDS)
    for name in REWARDS:
        assert learner.moments[name].mean.item() == pytest.approx(moments[name].mean.item(), rel=1e-9)
        assert learner.moments[name].std.item() == pytest.approx(moments[name].std.item(), rel=1e-9)
    acts = acting(paths.length, 4)
    advantages = advantages_by(settings.estimator)(
        reward_to_go(centered(rewards, moments, settings.weights, 4), 0.9), acts
    )
    actions = Actions.of_paths(catalogue, prompts.history, prompts.target, paths)
    inputs = catalogue.prompt_tokens(prompts.history, prompts.target), actions.decoder_tokens
    own_states, reference_states = (p(*inputs).flatten(0, 2) for p in (policy, learner.reference))
    kl = nats = 0
    n_tokens = actions.n_tokens.sum().item()
    log_probs = defaultdict(list)  # of each action's tokens, under policy and reference
    for taken in actions.levels:
        own = masked_log_softmax(policy.logits(own_states[taken.source], taken.ids), taken.allowed)
        other = masked_log_softmax(
            learner.reference.logits(reference_states[taken.source], taken.ids), taken.allowed
        )
        for row in range(len(own)):
            log_probs[taken.action[row].item()].append(
                (own[row, taken.chosen[row]], other[row, taken.chosen[row]].detach())
            )
            p, q = own[row][taken.allowed[row]], other[row][taken.allowed[row]]
            kl += (p.exp() * (p - q)).sum()
            nats -= (p.exp() * p).sum()
    gradient_part = sampled_kl = 0
    for action, tokens in log_probs.items():
        n = actions.n_tokens[action].item() if settings.item_log_prob == "mean" else 1
        ours, theirs = (sum(x) / n for x in zip(*tokens, strict=True))
        gradient_part -= advantages.flatten()[action] * ours
        sampled_kl += SAMPLED[settings.kl.estimator](ours, theirs) if settings.kl.estimator != "exact" else 0
    anchor = kl if settings.kl.estimator == "exact" else sampled_kl
    loss = (gradient_part + 0.3 * anchor - settings.entropy_bonus * nats) / 30
    assert values["train/loss"] == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    assert values["train/kl"] == pytest.approx(kl.item() / 30, rel=1e-5)
    assert values["train/entropy"] == pytest.approx(nats.item() / n_tokens, rel=1e-5)
    loss.backward()
    norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in policy.parameters()))
    assert values["train/gradient_norm"] == pytest.approx(norm, rel=1e-4)

    # The update is AdamW's on the gradient, clipped.
    optimizer = adamw(
        policy,
        settings.learning_rate,
        settings.weight_decay,
        {policy.shared.weight: settings.embedding_learning_rate},
    )
    torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.gradient_clip)
    optimizer.step()
    # Adam's first step is the sign of the gradient, which rounding settles where the gradient is about 0.
    for (name, expected), found in zip(policy.named_parameters(), learner.policy.parameters(), strict=True):
        certain = expected.grad.abs() > 1e-6
        assert certain.double().mean() > 0.1, name
        torch.testing.assert_close(found[certain], expected[certain], rtol=0, atol=1e-6, msg=name)

    scores = learner.simulator.score(prompts.history, paths.items, prompts.target, ends=True)
    log_prob, rank, acceptance, rows = (
        part.flatten(0, 1).numpy() for part in (scores.log_prob, scores.rank, scores.acceptance, paths.items)
    )
    metrics = {
        "ioi": path_metrics.increment_of_interest(log_prob),
        "ior": path_metrics.increment_of_rank(rank),
        "ctr": path_metrics.feasibility(acceptance, rows),
    }
    for name in ("ioi", "ior", "ctr"):
        assert values[f"train/{name}"] == pytest.approx(metrics[name].mean(), rel=1e-4, abs=1e-5)
    lengths = paths.length.double()
    assert values["train/length"] == pytest.approx(lengths.mean().item())
    assert values["train/length_std"] == pytest.approx(lengths.std(correction=0).item())
    assert values["train/stopped"] == pytest.approx((lengths < 4).double().mean().item())
    assert values["train/advantage_variance"] == pytest.approx(
        advantages[acts].var(correction=0).item(), rel=1e-4
    )
    assert n_tokens_of(values, 30, catalogue.n_levels) == pytest.approx(n_tokens)


def test_the_loss_does_not_depend_on_how_prompts_are_grouped_into_passes(monkeypatch):
    values = []
    for n in (1, 90, 8192):
        monkeypatch.setattr(passes, "TOKENS_PER_PASS", n)
        values.append(take_step(a_learner(), some_prompts(), centering=True, seed=1))
    for other in values[1:]:
        assert other == pytest.approx(values[0], rel=1e-4, abs=1e-5)


def test_moments_are_collected_while_centering_and_frozen_behind_it():
    learner = a_learner()
    rewards = []
    for step in (1, 2):
        paths = draw(learner.policy, learner.catalogue, some_prompts(), 4, 1.0, seed=step)
        rewards.append(rewards_of(learner, some_prompts(), paths))
        take_step(learner, some_prompts(), centering=True, seed=step)
    frozen = dict(learner.moments)
    for name in frozen:
        together = torch.cat([r.values[name][r.real] for r in rewards]).double().numpy()
        assert frozen[name].mean.item() == pytest.approx(together.mean(), rel=1e-6)
        assert frozen[name].std.item() == pytest.approx(together.std(ddof=1), rel=1e-6)
    take_step(learner, some_prompts(), centering=False, seed=3)
    assert learner.moments == frozen


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_fine_tuning_raises_the_reward(tmp_path, precision):
    settings = FINETUNE.replace(
        steps=20, n_rollouts=8, learning_rate=1e-2, centering_steps=2, precision=precision
    )
    policy, result, rows = run(tmp_path, settings, LikesEvenItems())
    assert [row["step"] for row in rows] == list(range(21))
    ioi = [row["values"]["train/ioi"] for row in rows[1:]]
    assert sum(ioi[-5:]) / 5 > ioi[0] + 1  # 2 is the most that four items can add
    assert result["validation"]["ioi"] > result["validation_initial"]["ioi"] + 0.5
    assert rows[0]["values"] == {
        f"validation/{name}": value for name, value in result["validation_initial"].items()
    }
    assert rows[1]["values"]["train/kl"] == pytest.approx(
        0.0, abs=1e-6
    )  # the reference is the policy it started from
    assert rows[-1]["values"]["train/kl"] > 0.01
    assert result["steps"] == 20
    validated = {
        row["step"]: row["values"]["validation/ioi"] for row in rows[1:] if "validation/ioi" in row["values"]
    }
    assert list(validated) == [5, 10, 15, 20]
    assert result["best_step"] == max(validated, key=validated.get)
    assert result["validation"]["ioi"] == validated[result["best_step"]]
    assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())


def test_a_strong_anchor_holds_the_policy(tmp_path):
    settings = FINETUNE.replace(steps=10, learning_rate=1e-2)
    free, held = (
        run(tmp_path / str(c), settings.replace(kl=KL(estimator="exact", coefficient=c, target=None)))[2][-1][
            "values"
        ]["train/kl"]
        for c in (0.0, 10.0)
    )
    assert held < 0.3 * free


STATEFUL = {  # every setting that carries something from step to step
    "estimator": "a2c",
    "centering": "running",
    "kl": KL(estimator="exact", coefficient=0.1, target=0.01),
    "reference_reset": {"every": 4, "optimiser": True},
    "updates_per_rollout": 2,
    "weight_averaging": 0.9,
    "learning_rate": 1e-2,
}


@pytest.mark.parametrize("killed", [3, 8])
@pytest.mark.parametrize(
    "variant", [{}, STATEFUL, {"reference_reset": {"stalled": 1}}], ids=["default", "stateful", "stalled"]
)
def test_an_interrupted_run_ends_with_the_weights_and_curves_of_an_unbroken_one(
    tmp_path, monkeypatch, variant, killed
):
    """Killed before its first checkpoint, and between two; the moments are collected over the first steps
    alone.
    """
    settings = FINETUNE.replace(steps=20, centering_steps=2, **variant)
    unbroken, result, rows = run(tmp_path / "unbroken", settings)
    log = Curves.log
    monkeypatch.setattr(Curves, "log", killed_at(killed, log))
    with pytest.raises(Killed):
        run(tmp_path / "broken", settings)
    monkeypatch.setattr(Curves, "log", log)
    steps = []
    monkeypatch.setattr(
        trainer, "take_step", lambda *args, **options: steps.append(1) or take_step(*args, **options)
    )
    continued, same_result, same_rows = run(tmp_path / "broken", settings)
    assert len(steps) == {3: 20, 8: 15}[killed]
    assert same_result == result
    assert same_rows == rows
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(weight, continued.state_dict()[name]), name


def test_the_checkpoint_may_be_chosen_by_a_weighted_sum_of_metrics(tmp_path):
    settings = FINETUNE.replace(steps=15, learning_rate=5e-3, select_on={"length": -1.0, "ctr": 0.5})
    _, result, rows = run(tmp_path, settings)
    scores = {
        row["step"]: -row["values"]["validation/length"] + 0.5 * row["values"]["validation/ctr"]
        for row in rows[1:]
        if "validation/length" in row["values"]
    }
    assert result["best_step"] == max(scores, key=scores.get)


def test_the_learning_rate_warms_up_and_stays(tmp_path, monkeypatch):
    rates = []

    def remember(learner, *args, **options):
        rates.append(learner.optimizer.param_groups[0]["lr"])
        return take_step(learner, *args, **options)

    monkeypatch.setattr(trainer, "take_step", remember)
    run(tmp_path, FINETUNE.replace(steps=10, warmup_share=0.4, learning_rate=1e-3))
    assert rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4] + [1e-3] * 7)


def test_rewards_are_collected_in_the_first_steps_alone(tmp_path, monkeypatch):
    collecting = []

    def remember(*args, centering, **options):
        collecting.append(centering)
        return take_step(*args, centering=centering, **options)

    monkeypatch.setattr(trainer, "take_step", remember)
    run(tmp_path, FINETUNE.replace(steps=20, centering_steps=2))
    assert collecting == [True] * 2 + [False] * 18
