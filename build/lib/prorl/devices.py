"""The devices and processes of a run: one process on CPU or GPU, or several under `accelerate launch`."""

import os
from typing import cast

import torch
from accelerate import Accelerator, PartialState


def accelerator(precision: str) -> Accelerator:
    """What a training runs with, alone or as one of several processes; `precision` is float32 or bf16
    (autocast).

    PyTorch's deterministic algorithms are switched on; on CUDA those without one warn.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Every buffer is written before it is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=not torch.cuda.is_available()
    )


def process() -> PartialState:
    """This process among those that `accelerate launch` started, or the only one: its device, and whether it
    is the one that writes.
    """
    return PartialState(cpu=not torch.cuda.is_available())


def own_device() -> torch.device:
    """The device of this process."""
    return torch.device(process().device or "cpu")


def summed(run: Accelerator, tensor: torch.Tensor) -> torch.Tensor:
    """The sum of `tensor` over all processes of `run`."""
    return cast(torch.Tensor, run.reduce(tensor, reduction="sum"))
