"""Estimators by name: what each tells the training of itself, and one from outside the library."""

import pytest
import torch

from prorl.config.section import ConfigError
from prorl.rl.critic import CriticEstimator
from prorl.rl.estimators import ESTIMATORS, OfRewards, new_estimator, of_rewards
from tests.rl.short_runs import LikesEvenItems, a_learner, run
from tests.tiny_models import FINETUNE

CPU = torch.device("cpu")


def named(name):
    return new_estimator(FINETUNE.replace(estimator=name), 16, 0, CPU)


def test_the_critic_alone_learns_warms_up_and_has_a_curve_of_its_own():
    assert list(ESTIMATORS) == [
        *("reinforce", "reward_to_go", "grpo", "a2c", "position_specific", "leave_one_out"),
        *("prefix_specific", "expected"),
    ]
    for name in ESTIMATORS:
        estimator = named(name)
        own = estimator.warmup_steps, estimator.loss_name, estimator.coefficient
        assert own == ((2, "value_loss", 0.25) if name == "a2c" else (0, None, 0.0))
        assert isinstance(estimator, CriticEstimator if name == "a2c" else OfRewards)
        assert bool(estimator.tensors()) == (name == "a2c")


def test_an_unknown_estimator_is_an_error():
    allowed = f"{', '.join(ESTIMATORS)}, or module:attribute"
    with pytest.raises(ConfigError, match=rf"finetune\.estimator: got 'ppo', allowed: {allowed}$"):
        a_learner(FINETUNE.replace(estimator="ppo"))


def of_whole_paths(to_go, acts):
    """A[t] = G[0] - mean of G[0] over the prompt's other rollouts (RLOO)."""
    path_return, others = to_go[..., :1], to_go.shape[1] - 1
    return (path_return - (path_return.sum(1, keepdim=True) - path_return) / others) * acts


RLOO = of_rewards(of_whole_paths)


def test_an_estimator_may_be_named_as_module_and_attribute():
    to_go = torch.arange(12.0).reshape(2, 3, 2)
    acts = torch.ones_like(to_go)
    advantages = named(f"{__name__}:RLOO").advantages(to_go, acts)
    assert torch.equal(advantages, of_whole_paths(to_go, acts))
    with pytest.raises(ConfigError, match=r"finetune\.estimator: got .*:CPU', a device, allowed"):
        named(f"{__name__}:CPU")


def test_an_estimator_from_outside_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "rloo", RLOO)
    settings = FINETUNE.replace(
        estimator="rloo", steps=20, n_rollouts=8, learning_rate=1e-2, centering_steps=2
    )
    result = run(tmp_path, settings, LikesEvenItems())[1]
    assert result["validation"]["ioi"] > result["validation_initial"]["ioi"] + 0.5


class Offset:
    """An estimator that learns one number, the mean return, and takes it off."""

    warmup_steps, loss_name, coefficient = 1, "offset_loss", 1.0

    def __init__(self, settings, d_model, seed, device):
        self.offset = torch.zeros((), requires_grad=True)

    def advantages(self, to_go, acts):
        return to_go * acts

    def read(self, states, to_go, acts):
        return self.offset.detach() * acts, (to_go[acts] - self.offset).square().sum()

    def step(self, run, gradient_clip):
        self.offset.data -= 0.1 * self.offset.grad
        self.offset.grad = None

    def tensors(self):
        return {"offset": self.offset}

    def restore(self, tensors):
        self.offset.data = tensors["offset"]


def test_one_from_outside_that_learns_has_a_warm_up_a_curve_and_its_state_in_the_checkpoint(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(ESTIMATORS, "offset", Offset)
    settings = FINETUNE.replace(estimator="offset", steps=10, centering="none")
    _, result, rows = run(tmp_path / "unbroken", settings)
    losses = [row["values"]["train/offset_loss"] for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert [row["values"]["train/gradient_norm"] > 0 for row in rows[1:]] == [False] + [True] * 9
    steps = Offset.step

    def killed(self, run, gradient_clip):
        steps(self, run, gradient_clip)
        self.n_steps = getattr(self, "n_steps", 0) + 1
        if self.n_steps == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Offset, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", settings)
    assert run(tmp_path / "broken", settings)[1:] == (result, rows)
