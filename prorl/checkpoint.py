"""Stores the state of a training, so that an interrupted run continues from where it was; and reads the files
of stored models, which may come from anywhere.
"""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from prorl.code import ROOT, modules_of
from prorl.errors import DataError
from prorl.files import read_json, sha256_of
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
        if int(os.environ.get("RANK", 0)) == 0:  # of several processes the one that saves
            shutil.rmtree(self._unfinished, ignore_errors=True)
        if not self.path.exists():
            return None
        with safe_open(self.path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return tensors, json.loads(stored.metadata()["state"])

    def beside(self, name: str) -> Self:
        """The checkpoint of a part of the same run, such as what it prepares before it trains."""
        own = copy.copy(self)
        own.path = self.path.with_name(f"{self.path.stem}-{name}.safetensors")
        own._unfinished = self._unfinished.with_name(f"{self._unfinished.stem}-{name}.partial")
        return own

    def remove(self) -> None:
        """Forget the state, and that of parts, once the run's outputs are written."""
        self.path.unlink(missing_ok=True)
        for part in self.path.parent.glob(f"{self.path.stem}-*.safetensors"):
            part.unlink(missing_ok=True)


def _files(inputs: Iterable[Path]) -> list[Path]:
    found = []
    for path in map(Path, inputs):
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def read_config(path: Path, needed: Iterable[str]) -> dict[str, Any]:
    """The JSON object in `path`, the config of a stored model.

    Raises `DataError` for a file that is no JSON object or lacks one of the keys `needed`.
    """
    try:
        config = read_json(path)
    except ValueError as error:
        raise DataError(str(error)) from error
    if not isinstance(config, dict):
        raise DataError(f"{path}: found {type(config).__name__}, allowed: an object")
    for key in needed:
        if key not in config:
            raise DataError(f"{path}: {key}: missing")
    return config


def whole_number(config: dict[str, Any], key: str, path: Path, least: int = 1) -> int:
    """The number under `key` of a model's `config`, read from `path`. Raises `DataError` for all else."""
    value = config[key]
    if type(value) is not int or value < least:
        raise DataError(f"{path}: {key}: got {value!r}, allowed: a whole number of at least {least}")
    return value


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in the safetensors file `path`; nothing in it is run.

    Raises `DataError` for a file that is not there or none, such as a pickle of PyTorch's.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: not readable as safetensors: {error}; allowed: safetensors alone"
        ) from error


def require_fit(
    path: Path, weights: dict[str, torch.Tensor], n_layers: int, model: Callable[[], nn.Module]
) -> None:
    """Raise `DataError` unless the `weights` in `path` are those of what `model` builds, of `n_layers`.

    It is built without memory: a config may state any size.
    """
    misfit = f"{path}: does not fit config.json: "
    if n_layers > len(weights):
        raise DataError(f"{misfit}{len(weights)} weights, allowed: those of {n_layers} layers")
    try:
        with torch.device("meta"), _Unfilled():
            expected = dict(model().state_dict())
    except (RuntimeError, ValueError, OverflowError, TypeError) as error:
        raise DataError(f"{path.parent}/config.json: no model has these sizes: {error}") from error
    for name in [*expected, *weights]:
        if name not in weights:
            raise DataError(f"{misfit}weight {name!r} is missing")
        if name not in expected:
            raise DataError(f"{misfit}weight {name!r} belongs to no part of it")
        if weights[name].shape != expected[name].shape:
            found, allowed = list(weights[name].shape), list(expected[name].shape)
            raise DataError(f"{misfit}weight {name!r} has shape {found}, allowed: {allowed}")
        if expected[name].dtype.is_floating_point and not weights[name].is_floating_point():
            raise DataError(
                f"{path}: weight {name!r} holds {weights[name].dtype}, allowed: floating-point numbers"
            )
        if not weights[name].to(expected[name].dtype).isfinite().all():
            raise DataError(f"{path}: weight {name!r} holds a number that is not finite")


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills tensors in place: without memory it has no effect but imports of seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.startswith("__"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


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
