"""How many steps fine-tuning takes, how many of them are its warm-ups, and what contradicts itself there."""

from types import SimpleNamespace

import pytest

from prorl.config.section import ConfigError
from prorl.rl.trainer import n_steps_and_centering
from tests.rl.short_runs import run
from tests.tiny_models import FINETUNE


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 60, "centering_steps": 6}, (60, 6)),
        ({"steps": 5, "centering_steps": 1}, (5, 1)),  # a tenth of a short run is still one step
        ({"steps": None, "epochs": 12, "centering_steps": None}, (84, 7)),  # one epoch
        ({"steps": None, "epochs": 3, "centering_steps": 2}, (21, 2)),
        ({"steps": 70, "centering_steps": None}, (70, 7)),
        (
            {"steps": 60, "centering_steps": None, "centering": "running"},
            (60, 7),
        ),  # running moments have no warm-up to exceed
    ],
)
def test_steps_and_warm_up(settings, expected):
    assert n_steps_and_centering(FINETUNE.replace(**settings), steps_per_epoch=7) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"steps": None, "epochs": None},
            "steps: got None, allowed: a number where finetune.epochs is null, null where it is one",
        ),
        (
            {"steps": 10, "epochs": 2},
            "steps: got 10, allowed: a number where finetune.epochs is null, null where it is one",
        ),
        (
            {"steps": 60, "centering_steps": 7},
            r"centering_steps: 7 of 60 steps \(as set\); allowed: at most a tenth, 6",
        ),
        (
            {"steps": 60, "centering_steps": None},
            r"centering_steps: 7 of 60 steps \(one epoch\); allowed: at most a tenth, 6",
        ),
        ({"steps": 5, "centering_steps": 2}, "allowed: at most a tenth, 1"),
    ],
)
def test_steps_that_contradict_each_other_are_an_error(settings, message):
    with pytest.raises(ConfigError, match=message):
        n_steps_and_centering(FINETUNE.replace(**settings), steps_per_epoch=7)


def test_fewer_prompts_in_a_step_than_processes_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("prorl.rl.trainer.accelerator", lambda precision: SimpleNamespace(num_processes=1000))
    with pytest.raises(
        ConfigError,
        match=r"prompts_per_step: got \d+, \d+ in the smallest step; allowed: at least one for each of 1000",
    ):
        run(tmp_path, FINETUNE)


def test_a_critics_warm_up_as_long_as_the_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"a2c\.warmup_steps: got 2, allowed: less than the 2 steps"):
        run(tmp_path, FINETUNE.replace(steps=2, estimator="a2c"))
