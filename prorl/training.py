"""What every training loop shares: device and precision, optimiser, checkpoints an interrupted run continues
from, and curves.

Nothing random is carried over: each step seeds its own generator from the run's seed and its number, so a
continued run draws what an unbroken one would have drawn.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from dvclive import Live
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from prorl.code import ROOT, modules_of
from prorl.config.logging import Logging
from prorl.files import sha256_of
from prorl.layout import CHECKPOINTS
from prorl.runtime import TrainingError

TENSORBOARD = Path(".tensorboard")


def accelerator(precision: str) -> Accelerator:
    """One process on CPU or GPU, or one of several under `accelerate launch`; `precision` is float32 or bf16
    (autocast).

    PyTorch's deterministic algorithms are switched on; on CUDA those without one warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # every buffer is written before it is read
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=not torch.cuda.is_available()
    )


def process() -> PartialState:
    """This process among those that `accelerate launch` started, or the only one: its device, and whether it
    is the one that writes.
    """
    return PartialState(cpu=not torch.cuda.is_available())


def adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    own_rates: dict[nn.Parameter, float] | None = None,
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


class Checkpoint:
    """The state of an interrupted run, one safetensors file in `.checkpoints/`, replaced whole.

    Its name holds a hash of the run's input files, its settings and its code: `script`, a stage's `__file__`,
    and the library's modules that it imports. So a run finds its own state or none.
    """

    def __init__(self, label: str, inputs: Iterable[Path], *settings: Any, script: str | Path):
        script = Path(script)
        digest = hashlib.sha256(repr(settings).encode())
        for path in [*_files(inputs), script, *(ROOT / module for module in modules_of(script))]:
            digest.update(sha256_of(path).encode())
        self.path = CHECKPOINTS / f"{label}-{digest.hexdigest()[:16]}.safetensors"
        self._unfinished = (
            CHECKPOINTS / f".{label}.partial"
        )  # a folder, since safetensors adds files of its own

    def save(self, tensors: dict[str, torch.Tensor], state: dict) -> None:
        """Replace the stored state. `state` is anything JSON can hold."""
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
        self._unfinished.mkdir(parents=True, exist_ok=True)
        temporary = self._unfinished / self.path.name
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})
        os.replace(temporary, self.path)
        self._unfinished.rmdir()

    def load(self) -> tuple[dict[str, torch.Tensor], dict] | None:
        """The stored tensors and state, or None where the run starts afresh.

        What a killed run was still writing is removed.
        """
        shutil.rmtree(self._unfinished, ignore_errors=True)  # several processes load, and each may be first
        if not self.path.exists():
            return None
        with safe_open(self.path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return tensors, json.loads(stored.metadata()["state"])

    def remove(self) -> None:
        """Forget the state, once the run's outputs are written."""
        self.path.unlink(missing_ok=True)


def cannot_go_on(cause: object, at: str, checkpoint: Checkpoint) -> TrainingError:
    """The error that ends a training: its cause, the step or epoch, and where its last good state lies."""
    good = checkpoint.path if checkpoint.path.exists() else "none yet"
    return TrainingError(f"{cause}, at {at}; last good checkpoint: {good}")


def _files(inputs: Iterable[Path]) -> list[Path]:
    found = []
    for path in map(Path, inputs):
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def pack(name: str, module: nn.Module | torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of a module or optimiser, named `name/...`."""
    if isinstance(module, nn.Module):
        return {f"{name}/{key}": value.clone() for key, value in module.state_dict().items()}
    state = module.state_dict()["state"]
    return {
        f"{name}/{index}/{key}": value.clone()
        for index, entry in state.items()
        for key, value in entry.items()
    }


def unpack(name: str, module: nn.Module | torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put what `pack` named `name/...` back into `module`."""
    own = {
        key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")
    }
    if isinstance(module, nn.Module):
        module.load_state_dict(own)
        return
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in own.items():
        index, entry = key.split("/")
        state.setdefault(int(index), {})[entry] = value
    module.load_state_dict({"state": state, "param_groups": module.state_dict()["param_groups"]})


def tensorboard_folder(logging: Logging, stage: str) -> Path | None:
    """Where `stage` writes its TensorBoard event files; None where it writes none."""
    return TENSORBOARD / stage if logging.tensorboard else None


class Curves:
    """Training curves through DVCLive, whose rows can be stored in a checkpoint and written again; and as
    TensorBoard event files.

    DVC clears a stage's outputs before it runs, so a continued run must rewrite the rows of its first part.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[dict] | None = None,
        *,
        enabled: bool = True,
        tensorboard: Path | None = None,
    ):
        self.rows: list[dict] = []
        self._live = (
            Live(str(folder), save_dvc_exp=False, dvcyaml=None, monitor_system=False) if enabled else None
        )
        self._events = _event_writer(tensorboard) if enabled and tensorboard is not None else None
        for row in rows or []:
            self.log(**row)

    def log(self, step: int, values: dict[str, float], untracked: dict[str, float] | None = None) -> None:
        """Add one row at `step`.

        What depends on the machine, such as speed, is `untracked`: TensorBoard alone shows it.
        """
        self.rows.append({"step": step, "values": values})
        if self._live is not None:
            self._live.step = step
            for name, value in values.items():
                self._live.log_metric(name, value)
        if self._events is not None:
            for name, value in {**values, **(untracked or {})}.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the summary."""
        if self._live is not None:
            self._live.end()
        if self._events is not None:
            self._events.close()


def _event_writer(folder: Path) -> Any:
    """A writer of event files into `folder`, which is emptied: a continued run writes the rows of its first
    part again.
    """
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import, and few runs need it

    shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder))
