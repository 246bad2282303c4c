"""Keeps a training going: optimiser, checkpoints that an interrupted run continues from, best weights so far,
and curves.

A stage makes a `Session`; a trainer begins it, and reads as its algorithm:

    training = session.begin(run, model, Modules({"model": model, "optimizer": optimizer}))
    for step in training.steps(n_steps):
        ..
        training.keep_best(step, score)
        training.log(step, {"train/loss": loss})
        training.save()
    training.finish()

Nothing random is carried over: each step seeds its own generator from the run's seed and its number, so a
continued run draws what an unbroken one would have drawn. No number that is not finite gets into a curve or a
checkpoint.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import Accelerator
from torch import nn

from prorl.checkpoint import Checkpoint, Resumable, pack, unpack
from prorl.config.logging import Logging
from prorl.curves import Curves
from prorl.errors import TrainingError
from prorl.layout import Layout
from prorl.runtime import Termination, progress

TENSORBOARD = Path(".tensorboard")


def adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    own_rates: dict[torch.Tensor, float] | None = None,
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices alone, not on norms, biases and the parameters with a learning rate
    of their own.
    """
    own_rates = own_rates or {}
    general = [parameter for parameter in model.parameters() if parameter not in own_rates]
    groups = [
        {"params": [p for p in general if p.ndim > 1], "peak": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in general if p.ndim <= 1], "peak": learning_rate, "weight_decay": 0.0},
        *(
            {"params": [parameter], "peak": rate, "weight_decay": 0.0}
            for parameter, rate in own_rates.items()
        ),
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=learning_rate, fused=True
    )
    scale_learning_rate(optimizer, 1.0)
    return optimizer


def scale_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Use `share` of every group's learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


@dataclass(frozen=True)
class Session:
    """Where the training `name` keeps its state and its curves, and how often it shows its progress."""

    name: str
    checkpoint: Checkpoint
    curves: Path
    every_seconds: float
    tensorboard: Path | None = None

    @classmethod
    def of(
        cls,
        layout: Layout,
        name: str,
        script: str,
        inputs: Iterable[Path],
        settings: Iterable,
        logging: Logging,
    ) -> Self:
        """The session `pretrain`, `finetune` or `simulator/<simulator>` of one data set.

        A checkpoint is found again where `inputs` (files and folders), the files from outside the repository,
        `settings`, the stage's `script` and the code that it imports are the same.
        """
        outside = layout.inputs(name)
        if outside.exists():
            inputs = [*inputs, outside]
        stage, *rest = name.split("/")
        label = "-".join([layout.dataset, *rest])
        checkpoint = Checkpoint(f"{stage}-{label}", inputs, *settings, script=script)
        events = TENSORBOARD / f"{stage}@{label}" if logging.tensorboard else None
        return cls(name, checkpoint, layout.curves(name), logging.every_seconds, events)

    def begin(
        self, run: Accelerator, model: nn.Module, resumable: Resumable, *, unit: str = "step", **counts: Any
    ) -> "Training":
        """The training of `model` on `run`, at its start or where its checkpoint says; `resumable` is then
        restored.

        `unit`: what is counted, step or epoch. `counts`: what the trainer counts itself, anything JSON holds.
        """
        return Training(self, run, model, resumable, unit, counts)


class Training:
    """A training under way: `step` is its last step, `best_step` and `best_score` are those of the best
    weights so far, `stopped` says why it ends early, `counts` holds what the trainer counts itself.
    """

    def __init__(
        self,
        session: Session,
        run: Accelerator,
        model: nn.Module,
        resumable: Resumable,
        unit: str,
        counts: dict[str, Any],
    ):
        self.session, self.unit, self.counts = session, unit, counts
        self.step, self.best_step, self.best_score = 0, 0, -math.inf
        self.stopped: str | None = None
        self._run, self._model, self._resumable = run, model, resumable
        self._best = pack("best", model)
        rows = []
        if (stored := session.checkpoint.load()) is not None:
            tensors, state = stored
            resumable.restore(tensors)
            self._best = {name: tensor for name, tensor in tensors.items() if name.startswith("best/")}
            self.step, self.best_step, self.best_score = (
                state[name] for name in ("step", "best_step", "best_score")
            )
            self.stopped, self.counts, rows = state["stopped"], state["counts"], state["rows"]
        self._curves = Curves(
            session.curves, rows, enabled=run.is_main_process, tensorboard=session.tensorboard
        )

    @property
    def is_new(self) -> bool:
        """Whether nothing has been logged yet."""
        return not self._curves.rows

    def steps(self, n_steps: int) -> Iterator[int]:
        """The steps that are left of 1..n_steps, with a progress bar; none once `stopped` is set.

        After SIGTERM the checkpoint of the step under way is written, and the process ends; where the step
        takes longer than `GRACE`, it ends without it. What a step changes must be in `resumable` and
        `counts` when it is over. Of several processes, each ends at once.
        """
        self._bar = progress(
            range(self.step + 1, n_steps + 1),
            description=self._label,
            unit=self.unit,
            every_seconds=self.session.every_seconds,
            total=n_steps,
            initial=self.step,
        )
        with Termination(enabled=self._run.num_processes == 1) as termination:
            for step in self._bar:
                if self.stopped is not None:
                    break
                termination.told = f"{self.unit} {step} is not over; {self._continuation()}"
                yield step
                self.step = step
                if termination.asked:
                    termination.disarm()
                    self.save()
                    termination.leave(self._label, f"checkpoint written; {self._continuation()}")

    def keep_best(self, step: int, score: float, by: float = 0.0) -> bool:
        """Keep the weights of `step` if their `score` is more than `by` above the best; gives whether."""
        if not score > self.best_score + by:
            return False
        self.best_step, self.best_score = step, score
        self._best = pack("best", self._model)
        return True

    def log(
        self,
        step: int,
        values: dict[str, float],
        *,
        shown: str = "",
        untracked: dict[str, float] | None = None,
    ) -> None:
        """Add the row of `step` to the curves, and show `shown` beside the progress bar.

        Raises `TrainingError` where a value is not finite.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                raise self.error(f"{name} is {value}", step)
        self.step = step
        self._curves.log(step, values, untracked)
        if shown:
            self._bar.set_postfix_str(shown, refresh=False)

    def save(self) -> None:
        """Replace the checkpoint; of several processes the main one does.

        Raises `TrainingError` where a weight, or what the optimiser knows of it, is not finite: the
        checkpoint before stays.
        """
        if not self._run.is_main_process:
            return
        tensors = self._resumable.tensors()
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise self.error(f"{name} is not finite", self.step)
        names = ("step", "best_step", "best_score", "stopped", "counts")
        state = {name: getattr(self, name) for name in names}
        self.session.checkpoint.save({**tensors, **self._best}, {**state, "rows": self._curves.rows})

    def error(self, cause: object, step: int) -> TrainingError:
        """The error that ends the training: its cause, the step, and where the last good state lies."""
        path = self.session.checkpoint.path
        good = path if path.exists() else "none yet"
        return TrainingError(f"{cause}, at {self.unit} {step}; last good checkpoint: {good}")

    @property
    def _label(self) -> str:
        return self.session.name.replace("/", " ")

    def _continuation(self) -> str:
        """Where a run that is ended now goes on."""
        path = self.session.checkpoint.path
        return f"run again to go on from {path}" if path.exists() else "run again to begin anew"

    def finish(self) -> None:
        """Write the curves' summary, and give the model its best weights."""
        self._curves.close()
        unpack("best", self._model, self._best)
