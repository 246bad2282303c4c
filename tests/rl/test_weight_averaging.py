"""The average of the policy's weights, which is judged and kept in their place."""

import torch

from prorl.rl.learner import Learner
from tests.rl.short_runs import a_learner, run
from tests.tiny_models import FINETUNE

SETTINGS = FINETUNE.replace(steps=6, evaluate_every=6, learning_rate=1e-2, weight_averaging=0.6)
SHARES = [0.5 * 0.6**4, 0.5 * 0.6**4, 0.4 * 0.6**3, 0.4 * 0.6**2, 0.4 * 0.6, 0.4]  # of each step's weights


def test_what_is_kept_is_the_average_of_the_weights_behind_each_step(tmp_path, monkeypatch):
    behind = []
    average = Learner.average

    def remember(learner):
        average(learner)
        behind.append({name: weight.clone() for name, weight in learner.policy.state_dict().items()})

    monkeypatch.setattr(Learner, "average", remember)
    policy, result, _ = run(tmp_path, SETTINGS)
    assert result["best_step"] == len(behind) == len(SHARES)
    for name, kept in policy.state_dict().items():
        expected = sum(share * weights[name] for share, weights in zip(SHARES, behind, strict=True))
        torch.testing.assert_close(kept, expected)
    assert not torch.equal(policy.shared.weight, behind[-1]["shared.weight"])


def test_training_goes_on_from_the_weights_themselves(tmp_path):
    averaged, plain = (
        [
            {name: value for name, value in row["values"].items() if name.startswith("train/")}
            for row in run(tmp_path / str(decay), SETTINGS.replace(weight_averaging=decay))[2]
        ]
        for decay in (0.6, None)
    )
    assert averaged == plain


def test_before_the_first_step_what_would_be_kept_is_the_start():
    learner = a_learner(SETTINGS)
    for name, weight in learner.policy.state_dict().items():
        assert torch.equal(weight, learner.kept.state_dict()[name])
    learner.average()
    torch.testing.assert_close(learner.kept.shared.weight, learner.policy.shared.weight)
    assert not any(weight.requires_grad for weight in learner.kept.parameters())
