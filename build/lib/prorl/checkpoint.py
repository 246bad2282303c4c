"""Stores the state of a training, so that an interrupted run continues from where it was."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from prorl.code import ROOT, modules_of
from prorl.files import sha256_of
from prorl.layout import CHECKPOINTS


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
        # A folder, since safetensors adds files of its own.
        self._unfinished = CHECKPOINTS / f".{label}.partial"

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


class Resumable(Protocol):
    """What changes in a training besides its counts: weights, and the state of optimisers."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it, by name; no name starts with `best/`."""
        ...

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave. There may be others beside them."""
        ...


@dataclass(frozen=True)
class Modules:
    """Modules and optimisers by name, as `Resumable`."""

    by_name: dict[str, nn.Module | torch.optim.Optimizer]

    def tensors(self) -> dict[str, torch.Tensor]:
        """See `Resumable.tensors`."""
        return {key: value for name, part in self.by_name.items() for key, value in pack(name, part).items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """See `Resumable.restore`."""
        for name, part in self.by_name.items():
            unpack(name, part, tensors)
