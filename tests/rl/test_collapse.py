"""Fine-tuning that ends where the policy has come to write few paths."""

import pytest
import torch

from prorl.config.finetune import StopOnCollapse
from prorl.evaluation.judge import Judge
from prorl.policy.guide import PolicyGuide
from prorl.rl import trainer
from tests.rl.short_runs import N_ITEMS, WORDS, run, some_prompts
from tests.tiny_models import FINETUNE, random_catalogue, random_policy, random_simulator

GUARD = StopOnCollapse(distinct=0.5, best_of=0.9, patience=2)
SETTINGS = FINETUNE.replace(steps=20, evaluate_every=2, learning_rate=1e-2)


def validated(monkeypatch, distinct, best_of=None, ioi=None):
    """Let validations find these values, the start's first."""
    of = iter(range(100))
    whole = trainer.finetune

    def finetune(policy, catalogue, simulator, words, source, validate, settings, seed, session):
        def found(current):
            i = next(of)
            metrics = validate(current) | {"distinct": distinct[min(i, len(distinct) - 1)]}
            metrics |= {"best_of": best_of[min(i, len(best_of) - 1)] if best_of else 4.0}
            return metrics | ({"ioi": ioi[min(i, len(ioi) - 1)]} if ioi else {})

        return whole(policy, catalogue, simulator, words, source, found, settings, seed, session)

    monkeypatch.setattr("tests.rl.short_runs.finetune", finetune)


def test_training_ends_with_the_last_good_policy_and_says_so(tmp_path, monkeypatch, capsys):
    """Validations of steps 2, 4, ..; the fallen ones have the best scores, and count for nothing."""
    validated(monkeypatch, [0.8, 0.8, 0.3, 0.8, 0.3, 0.3, 0.8], ioi=[0.0, 1.0, 5.0, 2.0, 6.0, 7.0, 9.0])
    policy, result, rows = run(tmp_path, SETTINGS.replace(stop_on_collapse=GUARD))
    assert (result["stopped"], result["steps"], result["best_step"]) == ("collapse", 10, 6)
    assert result["validation"]["ioi"] == 2.0
    assert (
        "finetune: collapse at step 10: distinct is 0.300, allowed: at least 0.400; "
        "the policy of step 6 is kept" in capsys.readouterr().err
    )
    assert rows[-1]["step"] == 10
    validated(monkeypatch, [0.8], ioi=[0.0, 1.0, 1.0, 2.0, 0.0])
    other, unguarded, _ = run(tmp_path / "unguarded", SETTINGS.replace(steps=10))
    assert unguarded["best_step"] == 6
    for own, same in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, same)


def test_where_all_have_fallen_the_start_is_kept(tmp_path, monkeypatch):
    validated(monkeypatch, [0.8], best_of=[4.0, 1.0])
    policy, result, _ = run(tmp_path, SETTINGS.replace(stop_on_collapse=GUARD))
    assert (result["stopped"], result["steps"], result["best_step"]) == ("collapse", 4, 0)
    assert result["validation"] == result["validation_initial"]
    start = random_policy(
        random_catalogue(N_ITEMS, forbid=["repeats", "history", "target"], target_tokens="separate")
    )
    for own, other in zip(policy.parameters(), start.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_guard_that_nothing_misses_changes_nothing(tmp_path):
    free, result, rows = run(tmp_path / "free", SETTINGS.replace(steps=10))
    loose = StopOnCollapse(distinct=0.01, best_of=None, patience=1)
    held, same, same_rows = run(tmp_path / "held", SETTINGS.replace(steps=10, stop_on_collapse=loose))
    assert (same, same_rows) == (result, rows)
    for name, weight in free.state_dict().items():
        assert torch.equal(weight, held.state_dict()[name])


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_the_best_of_several_paths_is_that_of_every_prompt_alone(batch_size):
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats"])
    guide, prompts, simulator = (
        PolicyGuide(random_policy(catalogue), catalogue),
        some_prompts(),
        random_simulator(N_ITEMS),
    )
    judge = Judge(prompts, {"SASRec": simulator}, WORDS, 4, 6, batch_size, 0)
    found = judge.best_of_means(guide, 3)["SASRec"]
    samples = guide.samples(prompts, 3, trainer.derived_seed(0, "best of"))
    log_prob = simulator.score(prompts.history, samples, prompts.target, ends=True).log_prob
    assert found == pytest.approx(
        (log_prob[..., -1] - log_prob[..., 0]).max(1).values.mean().item(), abs=1e-5
    )
