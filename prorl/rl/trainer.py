"""Fine-tunes the policy by a rectified policy gradient on its own rollouts: ProRL's second stage.

One step, as in the paper (arXiv 2605.28293): sample m paths per prompt; take a simulator's step rewards;
centre them (SRC, frozen after `centering_steps`); reward-to-go against a position-specific baseline (PSAE);
ascend, held to the starting policy by an exact KL. Where it departs from the released code: stopping is an
action with an advantage of its own, an item's log-probability is the sum over its tokens, decoding is
constrained and no path is empty, and one scorer serves training and evaluation. No dropout anywhere.
Stage: `stages/finetune.py`.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from prorl.config.finetune import Finetune, ReferenceReset
from prorl.config.section import ConfigError
from prorl.devices import accelerator
from prorl.errors import TrainingError
from prorl.policy.catalogue import Catalogue
from prorl.rl.collapse import fallen
from prorl.rl.kl import adapted
from prorl.rl.learner import Learner
from prorl.rl.rollouts import PromptSource
from prorl.rl.step import take_step
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator
from prorl.t5.model import T5
from prorl.training import Session, scale_learning_rate

NEW_COUNTS = {
    "stalled": 0,  # validations on end without a better score, since the reference's last reset
    "invalid_steps": 0,  # steps on end that held too few items
    "collapsed": 0,  # validations on end of a policy that writes too few paths
    "initial": {},
    "validation": {},
}


def n_steps_and_centering(settings: Finetune, steps_per_epoch: int) -> tuple[int, int]:
    """Steps of the run, and of its centering warm-up.

    Raises `ConfigError` where that warm-up exceeds a tenth.
    """
    n_steps = settings.steps or (settings.epochs or 0) * steps_per_epoch  # one of the two is given
    centering = steps_per_epoch if settings.centering_steps is None else settings.centering_steps
    if settings.centering != "running" and centering > max(1, n_steps // 10):
        found = "one epoch" if settings.centering_steps is None else "as set"
        raise ConfigError(
            f"params.yaml: finetune.centering_steps: {centering} of {n_steps} steps ({found}); "
            f"allowed: at most a tenth, {max(1, n_steps // 10)}"
        )
    return n_steps, centering


def finetune(
    policy: T5,
    catalogue: Catalogue,
    simulator: Simulator,
    attribute_words: np.ndarray,
    source: PromptSource,
    validate: Callable[[T5], dict[str, float]],
    settings: Finetune,
    seed: int,
    session: Session,
) -> dict:
    """Train `policy` in place to its best `select_on` among validations, the starting policy's not counted.

    attribute_words [n+1, w] are the items' attributes as bits; `validate` gives the greedy validation metrics
    of a policy, and `BEST_OF` where that is guarded. Gives `{"steps", "best_step", "stopped", "centering",
    "validation_initial", "validation"}`, `stopped` being `steps`, `errors` or `collapse`: a validation that
    misses `stop_on_collapse` counts for nothing, and the policy that is kept may be the starting one. Raises
    `ConfigError` for settings that contradict each other, and `TrainingError` naming step, cause and last
    good checkpoint where no further step can be taken.
    """
    n_steps, centering_steps = n_steps_and_centering(settings, source.steps_per_epoch)
    require_moments(catalogue, settings, centering_steps)
    run = accelerator(settings.precision)
    if source.fewest_per_step < run.num_processes:
        raise ConfigError(
            f"params.yaml: finetune.prompts_per_step: got {settings.prompts_per_step}, "
            f"{source.fewest_per_step} in the smallest step; "
            f"allowed: at least one for each of {run.num_processes} processes"
        )
    learner = Learner.of(run, policy, catalogue, simulator, attribute_words, settings, seed)
    warmup_steps = learner.estimator.warmup_steps
    require_steps_behind(warmup_steps, n_steps, settings.estimator)
    training = session.begin(run, learner.kept, learner, **NEW_COUNTS)
    counts = training.counts
    if training.is_new:
        counts["initial"] = validate(learner.kept)
        training.log(0, {f"validation/{name}": value for name, value in counts["initial"].items()})
    for step in training.steps(n_steps):
        started = time.perf_counter()
        share = step / max(1, round(settings.warmup_share * n_steps))
        scale_learning_rate(learner.optimizer, min(1.0, share))
        prompts = source.at(step, run.device)
        warming_up = step <= warmup_steps
        learner.tell(catalogue.acceptance_at(step))
        try:
            row = take_step(
                learner,
                prompts,
                centering=step <= centering_steps or settings.centering == "running",
                seed=derived_seed(seed, "rollouts", step),
                warming_up=warming_up,
            )
        except TrainingError as cause:
            raise training.error(cause, step) from cause
        learner.average()
        n_paths = len(prompts) * settings.n_rollouts
        speed = n_tokens(row, n_paths, catalogue.n_levels) / (time.perf_counter() - started)
        if not warming_up:
            learner.kl_coefficient = adapted(learner.kl_coefficient, row["train/kl"], settings.kl.target)
        if (stop := settings.stop_on_errors) is not None:
            is_valid = 1 - row["train/error"] >= stop.min_valid_share
            counts["invalid_steps"] = 0 if is_valid else counts["invalid_steps"] + 1
            if counts["invalid_steps"] >= stop.patience:
                training.stopped = "errors"
        validated = step % settings.evaluate_every == 0 or step == n_steps or training.stopped is not None
        if validated:
            metrics = validate(learner.kept)
            row |= {f"validation/{name}": value for name, value in metrics.items()}
            score = sum(weight * metrics[name] for name, weight in settings.select_on.items())
            counts["stalled"] += 1
            few = fallen(metrics, counts["initial"], settings.stop_on_collapse)
            if few is None and training.keep_best(step, score):
                counts.update(validation=metrics, stalled=0)
            counts["collapsed"] = counts["collapsed"] + 1 if few else 0
            if settings.stop_on_collapse and counts["collapsed"] >= settings.stop_on_collapse.patience:
                training.stopped = "collapse"
                if run.is_main_process:
                    kept = f"the policy of step {training.best_step} is kept"
                    print(f"finetune: collapse at step {step}: {few}; {kept}", file=sys.stderr)
        if (reset := settings.reference_reset) and is_reset_due(reset, step, counts["stalled"]):
            learner.reset_reference(reset.optimiser)
            counts["stalled"] = 0
        shown = f"IoI {row['train/ioi']:.2f}, CTR {row['train/ctr']:.2f}, KL {row['train/kl']:.2f}"
        training.log(
            step, row, shown=f"{shown}, {speed:.0f} tokens/s", untracked={"tokens_per_second": speed}
        )
        if validated:
            training.save()
    training.finish()
    if learner.kept is not policy:
        policy.load_state_dict(learner.kept.state_dict())
    return {
        "steps": training.step,
        "best_step": training.best_step,
        "stopped": training.stopped or "steps",
        "centering": {
            name: {"mean": m.mean.item(), "std": m.std.item()}
            for name, m in learner.moments_at[catalogue.acceptance].items()
        },
        "validation_initial": counts["initial"],
        "validation": counts["validation"] or counts["initial"],  # of step 0 where all have collapsed
    }


def require_moments(catalogue: Catalogue, settings: Finetune, centering_steps: int) -> None:
    """Raises `ConfigError` where the warm-up is over before every acceptance has been told."""
    needed = 2 * (len(catalogue.acceptances) - 1)
    if centering_steps < needed and settings.centering != "running":
        raise ConfigError(
            f"params.yaml: finetune.centering_steps: {centering_steps}, allowed: at least {needed}, in which "
            f"each of policy.acceptances, {list(catalogue.acceptances)}, is told once"
        )


def require_steps_behind(warmup_steps: int, n_steps: int, estimator: str) -> None:
    """Raises `ConfigError` where the warm-up of `estimator` leaves none of `n_steps` to the policy."""
    if warmup_steps >= n_steps:
        raise ConfigError(
            f"params.yaml: finetune.{estimator}.warmup_steps: got {warmup_steps}, "
            f"allowed: less than the {n_steps} steps"
        )


def n_tokens(row: dict[str, float], n_paths: int, n_levels: int) -> float:
    """Tokens that a step's `n_paths` rollouts hold, from its curve values."""
    return n_paths * (row["train/length"] * n_levels + row["train/stopped"])


def is_reset_due(reset: ReferenceReset, step: int, stalled: int) -> bool:
    """Whether the reference becomes the current policy after `step`; the last `stalled` validations have
    brought nothing better.

    As in prolonged training (ProRL of Liu et al. 2025, another method of the same name), which also starts
    its optimiser anew.
    """
    if reset.every is not None:
        return step % reset.every == 0
    return reset.stalled is not None and stalled >= reset.stalled
