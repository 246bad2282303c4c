"""SIGTERM: a training writes the checkpoint of the step under way, says so, and goes on from there."""

import os
import signal
import threading
import time

import pytest
import torch
from torch import nn

from prorl import runtime
from prorl.checkpoint import Modules
from prorl.devices import accelerator
from prorl.policy import pretraining
from prorl.rl import trainer
from prorl.rl.step import take_step
from prorl.runtime import Termination
from tests.rl.short_runs import run as run_finetune
from tests.tiny_models import FINETUNE, fresh_accelerator, session_at  # noqa: F401

TERMINATED = 128 + signal.SIGTERM


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def trained(folder, ending_at=None, seconds=0.0):
    """Five steps of a training with a checkpoint every two; its model's weight."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    resumable = Modules({"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1.0)})
    training = session_at(folder).begin(accelerator("float32"), model, resumable, seen=[])
    for step in training.steps(5):
        training.counts["seen"].append(step)
        if step == ending_at:
            terminate()
            time.sleep(seconds)
        with torch.no_grad():
            model.weight += step
        training.keep_best(step, step)
        training.log(step, {"train/loss": float(step)})
        if step % 2 == 0:
            training.save()
    training.finish()
    return model.weight.item(), training.counts["seen"]


def test_a_terminated_training_writes_the_checkpoint_of_its_step_and_says_so(tmp_path, capsys):
    whole = trained(tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        trained(tmp_path / "ended", ending_at=3)
    assert ended.value.code == TERMINATED
    path = session_at(tmp_path / "ended").checkpoint.path
    told = capsys.readouterr().err
    assert f"SIGTERM: checkpoint written; run again to go on from {path}" in told
    assert session_at(tmp_path / "ended").checkpoint.load()[1]["step"] == 3, "not step 2, saved before"
    assert trained(tmp_path / "ended") == whole
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_step_that_takes_long_is_left_and_the_checkpoint_before_it_stays(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "GRACE", 0.2)
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        trained(tmp_path, ending_at=3, seconds=60)
    assert ended.value.code == TERMINATED
    assert time.monotonic() - started < 20
    path = session_at(tmp_path).checkpoint.path
    assert f"SIGTERM: step 3 is not over; run again to go on from {path}" in capsys.readouterr().err
    assert session_at(tmp_path).checkpoint.load()[1]["step"] == 2
    assert trained(tmp_path) == trained(tmp_path / "whole")


def test_before_the_first_checkpoint_it_says_that_it_will_begin_anew(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "GRACE", 0.2)
    with pytest.raises(SystemExit):
        trained(tmp_path, ending_at=1, seconds=60)
    assert "SIGTERM: step 1 is not over; run again to begin anew" in capsys.readouterr().err


def test_a_termination_that_is_over_ends_nothing(monkeypatch):
    monkeypatch.setattr(runtime, "GRACE", 0.1)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with Termination() as termination:
        assert not termination.asked
        terminate()
        assert termination.asked
    time.sleep(0.3)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before


def test_other_threads_and_trainings_of_several_processes_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def block():
        with Termination() as termination:
            seen.append((termination.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    with Termination(enabled=False):
        seen.append((False, signal.getsignal(signal.SIGTERM)))
    assert seen == [(False, before)] * 2


def test_a_terminated_fine_tuning_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    settings = FINETUNE.replace(steps=12, evaluate_every=5)
    unbroken, result, rows = run_finetune(tmp_path / "unbroken", settings)
    steps = []

    def ending(*args, **options):
        steps.append(len(steps) + 1)
        if len(steps) == 8:  # between the validations of steps 5 and 10
            terminate()
        return take_step(*args, **options)

    monkeypatch.setattr(trainer, "take_step", ending)
    with pytest.raises(SystemExit):
        run_finetune(tmp_path / "broken", settings)
    continued, same_result, same_rows = run_finetune(tmp_path / "broken", settings)
    assert len(steps) == 12, "no step is taken twice"
    assert (same_result, same_rows) == (result, rows)
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(weight, continued.state_dict()[name]), name


def test_the_losses_since_the_last_row_of_the_curves_are_kept():
    model = nn.Linear(1, 1)
    modules = Modules({"model": model})
    learnt = pretraining.Learnt(modules, [torch.tensor(1.5), torch.tensor(0.1)], {3: torch.ones(2, 4).long()})
    again = pretraining.Learnt(modules, [torch.tensor(9.0)], {2: torch.zeros(2, 4).long()})
    again.restore(learnt.tensors())
    assert torch.stack(again.losses).mean() == torch.stack(learnt.losses).mean()
    assert list(again.written) == [3]
    assert torch.equal(again.written[3], learnt.written[3])
    again.restore(pretraining.Learnt(modules, [], {}).tensors())
    assert again.losses == []
    assert again.written == {}
