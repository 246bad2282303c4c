"""ProRL's second stage: the policy learns from its own rollouts by a rectified policy gradient.

One step, as in the paper (arXiv 2605.28293): sample m paths per prompt; take a simulator's step rewards;
centre them (SRC, frozen after `centering_steps`); reward-to-go against a position-specific baseline (PSAE);
ascend, held to the starting policy by an exact KL. Where it departs from the released code: stopping is an
action with an advantage of its own, an item's log-probability is the sum over its tokens, decoding is
constrained and no path is empty, and one scorer serves training and evaluation. No dropout anywhere.
Stage: `stages/finetune.py`.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

from prorl.config.finetune import Finetune
from prorl.config.section import ConfigError
from prorl.policy.catalogue import Catalogue
from prorl.rl.kl import adapted
from prorl.rl.learner import Learner
from prorl.rl.rollouts import PromptSource
from prorl.rl.step import take_step
from prorl.runtime import TrainingError, derived_seed, progress
from prorl.simulators.scoring import Simulator
from prorl.t5.model import T5
from prorl.training import Checkpoint, Curves, accelerator, cannot_go_on, pack, scale_learning_rate, unpack

NEW_STATE = {
    "step": 0,
    "best_step": 0,
    "best_score": -math.inf,
    "stalled": 0,  # validations on end without a better score, since the reference's last reset
    "invalid_steps": 0,
    "stopped": "steps",
    "rows": [],
    "initial": {},
    "validation": {},
}


def n_steps_and_centering(settings: Finetune, steps_per_epoch: int) -> tuple[int, int]:
    """Steps of the run, and of its centering warm-up.

    Raises `ConfigError` if they are not given, if that warm-up exceeds a tenth, or if a critic's warm-up
    leaves none to the policy.
    """
    if (settings.steps is None) == (settings.epochs is None):
        raise ConfigError(
            "params.yaml: finetune.steps and finetune.epochs: give one of them, null for the other"
        )
    n_steps = settings.steps if settings.epochs is None else settings.epochs * steps_per_epoch
    centering = steps_per_epoch if settings.centering_steps is None else settings.centering_steps
    if settings.centering != "running" and centering > max(1, n_steps // 10):
        raise ConfigError(
            f"params.yaml: finetune.centering_steps: {centering} of {n_steps} steps "
            f"({'one epoch' if settings.centering_steps is None else 'as set'}); allowed: at most a tenth, {max(1, n_steps // 10)}"
        )
    if settings.estimator == "a2c" and settings.a2c.warmup_steps >= n_steps:
        found = settings.a2c.warmup_steps
        raise ConfigError(
            f"params.yaml: finetune.a2c.warmup_steps: got {found}, allowed: less than the {n_steps} steps"
        )
    return n_steps, centering


def finetune(
    policy: T5,
    catalogue: Catalogue,
    simulator: Simulator,
    source: PromptSource,
    settings: Finetune,
    validate: Callable[[T5], dict[str, float]],
    seed: int,
    checkpoint: Checkpoint,
    curves_folder: Path,
    every_seconds: float,
    tensorboard: Path | None = None,
) -> dict:
    """Train `policy` in place to its best `select_on` among validations, the starting policy's not counted.

    `validate` gives the greedy validation metrics of a policy. Gives `{"steps", "best_step", "stopped",
    "centering", "validation_initial", "validation"}`, `stopped` being `steps` or `errors`. Raises
    `ConfigError` for step numbers that contradict each other, and `TrainingError` naming step, cause and last
    good checkpoint for a training that cannot go on.
    """
    n_steps, centering_steps = n_steps_and_centering(settings, source.steps_per_epoch)
    run = accelerator(settings.precision)
    if source.fewest_per_step < run.num_processes:
        raise ConfigError(
            f"params.yaml: finetune.prompts_per_step: got {settings.prompts_per_step}, {source.fewest_per_step} in the smallest step; "
            f"allowed: at least one for each of {run.num_processes} processes"
        )
    learner = Learner.of(run, policy, catalogue, simulator, settings, seed)
    best, state = pack("best", policy), dict(NEW_STATE)
    if (stored := checkpoint.load()) is not None:
        tensors, state = stored
        learner.restore(tensors, state["kl_coefficient"])
        best = {name: tensor for name, tensor in tensors.items() if name.startswith("best/")}
    else:
        state["initial"] = validate(policy)
    curves = Curves(curves_folder, state["rows"], enabled=run.is_main_process, tensorboard=tensorboard)
    if not state["rows"]:
        curves.log(0, {f"validation/{name}": value for name, value in state["initial"].items()})
    steps = range(state["step"] + 1, n_steps + 1)
    bar = progress(
        steps,
        description="finetune",
        unit="step",
        every_seconds=every_seconds,
        total=n_steps,
        initial=state["step"],
    )
    for step in bar:
        if state["stopped"] == "errors":
            break
        started = time.perf_counter()
        scale_learning_rate(
            learner.optimizer, min(1.0, step / max(1, round(settings.warmup_share * n_steps)))
        )
        prompts = source.at(step, run.device)
        critic_alone = learner.critic is not None and step <= settings.a2c.warmup_steps
        try:
            row = take_step(
                learner,
                prompts,
                centering=step <= centering_steps or settings.centering == "running",
                seed=derived_seed(seed, "rollouts", step),
                critic_alone=critic_alone,
            )
        except TrainingError as cause:
            raise cannot_go_on(cause, f"step {step}", checkpoint) from cause
        speed = n_tokens(row, len(prompts) * settings.n_rollouts, catalogue.n_levels) / (
            time.perf_counter() - started
        )
        if not critic_alone:
            learner.kl_coefficient = adapted(learner.kl_coefficient, row["train/kl"], settings.kl.target)
        state["step"] = step
        count_errors(state, row["train/error"], settings)
        validated = step % settings.evaluate_every == 0 or step == n_steps or state["stopped"] == "errors"
        if validated:
            metrics = validate(policy)
            row |= {f"validation/{name}": value for name, value in metrics.items()}
            score = sum(weight * metrics[name] for name, weight in settings.select_on.items())
            state["stalled"] += 1
            if score > state["best_score"]:
                state.update(best_score=score, best_step=step, validation=metrics, stalled=0)
                best = pack("best", policy)
        if is_reset_due(settings.reference_reset, step, state["stalled"]):
            learner.reset_reference()
            state["stalled"] = 0
        curves.log(step, row, {"tokens_per_second": speed})
        bar.set_postfix_str(
            f"IoI {row['train/ioi']:.2f}, CTR {row['train/ctr']:.2f}, KL {row['train/kl']:.2f}, {speed:.0f} tokens/s",
            refresh=False,
        )
        if run.is_main_process and validated:
            checkpoint.save(
                {**learner.tensors(), **best},
                {**state, "rows": curves.rows, "kl_coefficient": learner.kl_coefficient},
            )
    curves.close()
    unpack("best", policy, best)
    return {
        "steps": state["step"],
        "best_step": state["best_step"],
        "stopped": state["stopped"],
        "centering": {
            name: {"mean": m.mean.item(), "std": m.std.item()} for name, m in learner.moments.items()
        },
        "validation_initial": state["initial"],
        "validation": state["validation"],
    }


def n_tokens(row: dict[str, float], n_paths: int, n_levels: int) -> float:
    """Tokens that a step's `n_paths` rollouts hold, from its curve values."""
    return n_paths * (row["train/length"] * n_levels + row["train/stopped"])


def count_errors(state: dict, error: float, settings: Finetune) -> None:
    """Count in `state` the steps on end whose rollouts hold too few items, and mark the end of the run when
    they are too many.
    """
    if settings.stop_on_errors is None:
        return
    state["invalid_steps"] = (
        state["invalid_steps"] + 1 if 1 - error < settings.stop_on_errors.min_valid_share else 0
    )
    if state["invalid_steps"] >= settings.stop_on_errors.patience:
        state["stopped"] = "errors"


def is_reset_due(reset: dict[str, int] | None, step: int, stalled: int) -> bool:
    """Whether the reference becomes the current policy behind `step`, `stalled` validations having brought
    nothing better on end.

    As in prolonged training (ProRL of Liu et al. 2025, another method of the same name); the optimiser keeps
    its state.
    """
    if reset is None:
        return False
    return step % reset["every"] == 0 if "every" in reset else stalled >= reset["stalled"]
