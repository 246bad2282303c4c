"""Pre-training: its schedule, learning, stopping and continuing."""

import math

import pytest
import torch

from prorl.config.section import ConfigError
from prorl.curves import Curves
from prorl.errors import TrainingError
from prorl.policy import pretraining
from prorl.policy.pretraining import (
    cosine_with_warmup,
    in_steps,
    n_tokens,
    pretrain,
    summed_loss,
)
from prorl.policy.sources import Fresh, Mixture, Pool
from prorl.prompts import Demonstrations
from stages.pretrain import writing
from tests.tiny_models import (
    PRETRAIN,
    Killed,
    checkpoint_at,
    demonstrations_of,
    killed_at,
    random_catalogue,
    random_demonstrations,
    random_instances,
    random_policy,
    session_at,
)
from tests.tiny_models import random_prompts as histories_and_targets

N_ITEMS = 30


def towards_target(n, seed=0):
    """Demonstrations that can be learnt: the path is the target, then the last item of the history."""
    history, target = histories_and_targets(n, N_ITEMS, seed=seed)
    return demonstrations_of(
        history, target, torch.stack([target, history[:, -1], 0 * target, 0 * target], dim=1)
    )


def test_cosine_with_warmup_by_hand():
    assert [cosine_with_warmup(step, 12, 4) for step in (1, 2, 4)] == [0.25, 0.5, 1.0]
    assert cosine_with_warmup(8, 12, 4) == pytest.approx(0.5)  # half of the way down
    assert cosine_with_warmup(6, 12, 4) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert cosine_with_warmup(12, 12, 4) == pytest.approx(0.0)
    assert cosine_with_warmup(1, 2, 0) == pytest.approx(0.5)
    assert cosine_with_warmup(3, 3, 3) == 1.0


def run(
    folder,
    settings,
    *,
    train=None,
    validation=None,
    shares=None,
    dropout=0.1,
    target_tokens="shared",
    own_paths=False,
    validate=lambda policy: {},
):
    """Pre-train a policy on the demonstrations `train`, or on its own paths; gives it, the report, and the
    rows of the curves.
    """
    catalogue = random_catalogue(N_ITEMS, target_tokens=target_tokens)
    policy = random_policy(catalogue, dropout=dropout)
    session = session_at(folder)
    sources = {name: Pool(part) for name, part in (train or {"mined": towards_target(64)}).items()}
    if own_paths:
        instances, sequences = random_instances(12, N_ITEMS)
        write = writing(policy, catalogue, settings.precision)
        sources["search"] = Fresh(instances, sequences, N_ITEMS, 7, unsure, lambda _: None, writer=write)
    demonstrations = Mixture(
        sources,
        validation or {"mined": towards_target(20, seed=1)},
        shares or {"mined": 1.0},
    )
    result = pretrain(policy, catalogue, demonstrations, settings, 7, session, validate)
    return policy, result, session.checkpoint.load()[1]["rows"]


def unsure(prompts, acceptance, followed):
    """A search that would take the target at every place as gladly as what is followed."""
    alternatives = prompts.target[:, None, None].repeat(1, followed.shape[1], 1)
    shares = 0.5 * (alternatives != followed[..., None])
    parts = prompts.number, prompts.user, prompts.history, prompts.target
    return Demonstrations(*parts, followed, alternatives, shares)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_loss_falls(tmp_path, precision):
    policy, result, rows = run(
        tmp_path, PRETRAIN.replace(max_steps=60, evaluate_every=20, precision=precision), dropout=0.0
    )
    losses = [row["values"]["train/loss"] for row in rows]
    assert losses[-1] < 0.7 * losses[0]
    assert [row["step"] for row in rows] == [20, 40, 60]
    validation = [row["values"]["validation/loss"] for row in rows]
    assert result["validation_loss"] == min(validation)
    assert result["best_step"] == rows[validation.index(min(validation))]["step"]
    assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())


def test_the_best_weights_are_those_given_back(tmp_path):
    """A learning rate that ruins the policy after the first evaluation."""
    catalogue = random_catalogue(N_ITEMS)
    policy, result, rows = run(
        tmp_path, PRETRAIN.replace(max_steps=10, evaluate_every=1, learning_rate=3.0, warmup_steps=10)
    )
    validation = towards_target(20, seed=1)
    assert result["best_step"] < 10
    assert rows[-1]["values"]["validation/loss"] > result["validation_loss"]
    with torch.no_grad():
        loss = summed_loss(policy.eval(), catalogue, validation) / n_tokens(validation, catalogue)
    assert loss.item() == pytest.approx(result["validation_loss"], abs=1e-5)


def spoiling_step(monkeypatch, number):
    """Let the update of training step `number` leave a weight that is no number."""
    step, taken = pretraining.train_step, []

    def spoilt(run, model, *arguments):
        taken.append(1)
        loss = step(run, model, *arguments)
        if len(taken) == number:
            model.shared.weight.data[:] = torch.nan
        return loss

    monkeypatch.setattr(pretraining, "train_step", spoilt)


@pytest.mark.parametrize(("spoilt", "found"), [(12, 13), (15, 15), (3, 4)])  # an evaluation every 5 steps
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch, spoilt, found):
    """The loss of the step behind the spoilt update, or where there is none before the evaluation, the
    validation loss.
    """
    spoiling_step(monkeypatch, spoilt)
    good = r".*/checkpoint\.safetensors" if spoilt > 5 else "none yet"
    with pytest.raises(
        TrainingError, match=f"the loss is nan, at step {found}; last good checkpoint: {good}"
    ):
        run(tmp_path, PRETRAIN.replace(evaluate_every=5))
    if spoilt > 5:
        tensors, state = checkpoint_at(tmp_path / "checkpoint.safetensors").load()
        assert state["step"] == 10
        assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("own_paths", [False, True])
def test_an_interrupted_run_ends_with_the_weights_and_curves_of_an_unbroken_one(
    tmp_path, monkeypatch, own_paths
):
    shares = {"mined": 0.5, "search": 0.5} if own_paths else {"mined": 1.0}
    validation = dict.fromkeys(shares, towards_target(20, seed=1))
    arguments = {"own_paths": own_paths, "shares": shares, "validation": validation}
    unbroken, result, rows = run(tmp_path / "unbroken", PRETRAIN, **arguments)
    log = Curves.log
    monkeypatch.setattr(Curves, "log", killed_at(15, log))
    with pytest.raises(Killed):
        run(tmp_path / "broken", PRETRAIN, **arguments)
    monkeypatch.setattr(Curves, "log", log)
    steps = []
    step = pretraining.train_step
    monkeypatch.setattr(pretraining, "train_step", lambda *given: steps.append(1) or step(*given))
    continued, same_result, same_rows = run(tmp_path / "broken", PRETRAIN, **arguments)
    assert len(steps) == 10  # from step 11 on
    assert same_result == result
    assert same_rows == rows
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(weight, continued.state_dict()[name]), name


def test_the_weights_kept_are_those_that_lead_best_where_that_is_asked_for(tmp_path):
    weights = []

    def validate(policy):
        weights.append(policy.shared.weight.detach().clone())
        return {"ioi": [1.0, 3.0, 2.0, 2.5][len(weights) - 1], "ctr": 0.5}

    settings = PRETRAIN.replace(max_steps=40, evaluate_every=10, select_on={"ioi": 1.0, "ctr": 2.0})
    policy, result, rows = run(tmp_path, settings, validate=validate)
    losses = [row["values"]["validation/loss"] for row in rows]
    assert losses.index(min(losses)) == 3, "by the loss alone the last would be kept"
    assert (result["best_step"], result["validation_loss"]) == (20, losses[1])
    assert torch.equal(policy.shared.weight, weights[1])
    assert [row["values"]["validation/ioi"] for row in rows] == [1.0, 3.0, 2.0, 2.5]


def test_training_stops_when_nobody_is_led_any_better(tmp_path):
    settings = PRETRAIN.replace(max_steps=40, evaluate_every=10, patience=2, select_on={"ioi": 1.0})
    _, result, rows = run(tmp_path, settings, validate=lambda policy: {"ioi": 1.0})
    assert (result["stopped"], result["best_step"], len(rows)) == ("flattened", 10, 3)


def test_training_stops_when_the_validation_loss_has_flattened(tmp_path):
    settings = PRETRAIN.replace(max_steps=100, evaluate_every=2, patience=3, min_improvement=100.0)
    _, result, rows = run(tmp_path, settings)
    # The first evaluation improves on infinity; three more improve by less than asked for.
    assert result["stopped"] == "flattened"
    assert (result["steps"], result["best_step"]) == (8, 2)
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    # A run killed after it has stopped does not go on.
    assert run(tmp_path, settings)[1] == result


def test_a_run_that_still_improves_stops_at_the_last_step(tmp_path):
    _, result, rows = run(tmp_path, PRETRAIN.replace(max_steps=7, learning_rate=1e-3))
    assert (result["stopped"], result["steps"]) == ("max_steps", 7)
    assert [row["step"] for row in rows] == [5, 7]


def test_the_validation_loss_is_that_of_the_sources_in_their_shares(tmp_path):
    validation = {"mined": random_demonstrations(8, N_ITEMS, seed=1), "search": towards_target(8, seed=2)}
    train = {"mined": random_demonstrations(16, N_ITEMS), "search": towards_target(16)}
    shares = {"mined": 0.25, "search": 0.75}
    _, _, rows = run(tmp_path, PRETRAIN, train=train, validation=validation, shares=shares)
    last = rows[-1]["values"]
    expected = 0.25 * last["validation/loss_mined"] + 0.75 * last["validation/loss_search"]
    assert last["validation/loss"] == pytest.approx(expected)


def test_passes_over_the_mined_paths_stand_for_steps():
    """64 paths in batches of 10 are 7 steps a pass."""
    settings = PRETRAIN.replace(passes=2, batch_size=10, max_steps=1, warmup_steps=3)
    assert in_steps(settings, 64) == settings.replace(passes=None, max_steps=14)
    with pytest.raises(
        ConfigError, match=r"params\.yaml: pretrain\.warmup_steps: got 15, .*14, the steps of"
    ):
        in_steps(settings.replace(warmup_steps=15), 64)
    assert in_steps(PRETRAIN, 64) is PRETRAIN
