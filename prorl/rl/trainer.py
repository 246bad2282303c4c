"""ProRL's second stage: the policy learns from its own rollouts by a rectified policy gradient.

One step, as in the paper (arXiv 2605.28293): sample m paths per prompt; take a simulator's step rewards; centre them (SRC, frozen after
`centering_steps`); reward-to-go against a position-specific baseline (PSAE); ascend, held to the starting policy by an exact KL.
Where it departs from the released code: stopping is an action with an advantage of its own, an item's log-probability is the sum over
its tokens, decoding is constrained and no path is empty, and one scorer serves training and evaluation. No dropout anywhere.
Stage: `stages/finetune.py`.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import torch

from prorl.config import ConfigError, Finetune
from prorl.policy.model import T5Policy
from prorl.policy.prompts import Catalogue
from prorl.rl.centering import REWARDS, Moments
from prorl.rl.rollouts import PromptSource
from prorl.rl.step import Learner, take_step
from prorl.runtime import derived_seed, progress
from prorl.simulators.scoring import Simulator
from prorl.training import Checkpoint, Curves, accelerator, adamw, pack, scale_learning_rate, unpack

MOMENT_PARTS = ("count", "mean", "squares")


def n_steps_and_centering(settings: Finetune, steps_per_epoch: int) -> tuple[int, int]:
    """Steps of the run, and of its centering warm-up. Raises `ConfigError` if they are not given, or the warm-up exceeds a tenth."""
    if (settings.steps is None) == (settings.epochs is None):
        raise ConfigError("params.yaml: finetune.steps and finetune.epochs: give one of them, null for the other")
    n_steps = settings.steps if settings.epochs is None else settings.epochs * steps_per_epoch
    centering = steps_per_epoch if settings.centering_steps is None else settings.centering_steps
    if centering > max(1, n_steps // 10):
        raise ConfigError(
            f"params.yaml: finetune.centering_steps: {centering} of {n_steps} steps "
            f"({'one epoch' if settings.centering_steps is None else 'as set'}); allowed: at most a tenth, {max(1, n_steps // 10)}"
        )
    return n_steps, centering


def finetune(
    policy: T5Policy,
    catalogue: Catalogue,
    simulator: Simulator,
    source: PromptSource,
    settings: Finetune,
    validate: Callable[[T5Policy], dict[str, float]],
    seed: int,
    checkpoint: Checkpoint,
    curves_folder: Path,
    every_seconds: float,
) -> dict:
    """Train `policy` in place to its best `select_on` among validations, the starting policy's not counted.

    `validate` gives the greedy validation metrics of a policy. Gives `{"steps", "best_step", "centering", "validation_initial",
    "validation"}`. Raises `ConfigError` for step numbers that contradict each other, `FloatingPointError` for a loss that is not finite.
    """
    n_steps, centering_steps = n_steps_and_centering(settings, source.steps_per_epoch)
    run = accelerator(settings.precision)
    policy.to(run.device).eval()
    reference = copy.deepcopy(policy).requires_grad_(False)
    own_rates = {policy.shared.weight: settings.embedding_learning_rate}
    optimizer = adamw(policy, settings.learning_rate, settings.weight_decay, own_rates)
    model, optimizer = run.prepare(policy, optimizer)
    none = Moments.of(torch.zeros(0, device=run.device))
    learner = Learner(run, policy, model, optimizer, reference, catalogue.to(run.device), simulator, settings, dict.fromkeys(REWARDS, none))
    best = pack("best", policy)
    state = {"step": 0, "best_step": 0, "best_score": -math.inf, "rows": [], "initial": {}, "validation": {}}
    if (stored := checkpoint.load()) is not None:
        tensors, state = stored
        unpack("model", policy, tensors)
        unpack("optimizer", optimizer, tensors)
        best = {name: tensor for name, tensor in tensors.items() if name.startswith("best/")}
        learner.moments = {name: Moments(*(tensors[f"moments/{name}/{part}"].to(run.device) for part in MOMENT_PARTS)) for name in REWARDS}
    else:
        with run.autocast():
            state["initial"] = validate(policy)
    curves = Curves(curves_folder, state["rows"], enabled=run.is_main_process)
    if not state["rows"]:
        curves.log(0, {f"validation/{name}": value for name, value in state["initial"].items()})
    steps = range(state["step"] + 1, n_steps + 1)
    for step in (
        bar := progress(steps, description="finetune", unit="step", every_seconds=every_seconds, total=n_steps, initial=state["step"])
    ):
        scale_learning_rate(optimizer, min(1.0, step / max(1, round(settings.warmup_share * n_steps))))
        prompts = source.at(step, run.device)
        row = take_step(learner, prompts, centering=step <= centering_steps, seed=derived_seed(seed, "rollouts", step))
        if not math.isfinite(row["train/loss"]):
            raise FloatingPointError(f"finetune: the loss is {row['train/loss']} at step {step}; last good checkpoint: {checkpoint.path}")
        if step % settings.evaluate_every == 0 or step == n_steps:
            with run.autocast():
                metrics = validate(policy)
            row |= {f"validation/{name}": value for name, value in metrics.items()}
            score = sum(weight * metrics[name] for name, weight in settings.select_on.items())
            if score > state["best_score"]:
                state.update(best_score=score, best_step=step, validation=metrics)
                best = pack("best", policy)
        curves.log(step, row)
        bar.set_postfix_str(f"IoI {row['train/ioi']:.2f}, CTR {row['train/ctr']:.2f}, KL {row['train/kl']:.2f}", refresh=False)
        state["step"] = step
        if run.is_main_process and (step % settings.evaluate_every == 0 or step == n_steps):
            moments = {f"moments/{name}/{part}": getattr(m, part) for name, m in learner.moments.items() for part in MOMENT_PARTS}
            checkpoint.save({**pack("model", policy), **pack("optimizer", optimizer), **best, **moments}, {**state, "rows": curves.rows})
    curves.close()
    unpack("best", policy, best)
    return {
        "steps": n_steps,
        "best_step": state["best_step"],
        "centering": {name: {"mean": m.mean.item(), "std": m.std.item()} for name, m in learner.moments.items()},
        "validation_initial": state["initial"],
        "validation": state["validation"],
    }
