"""The precision that evaluation runs in where settings leave it to the machine."""

import sys
from pathlib import Path
from typing import Literal

import torch

from prorl.config.section import Precision

CPU_FLAGS = Path("/proc/cpuinfo")
TILES = "amx_bf16"  # the processor's matrix unit; with vectors of bfloat16 alone float32 was faster


def chosen(precision: Literal["float32", "bf16", "auto"], device: torch.device) -> Precision:
    """`precision`, and for auto the faster one on `device`, which is told on standard error.

    No setting holds what was chosen, so that it enters no checksum of DVC; what is kept of paths is kept by
    it.
    """
    if precision != "auto":
        return precision
    found, why = _faster(device)
    print(f"evaluate.precision: auto is {found}: {why}", file=sys.stderr)
    return found


def _faster(device: torch.device) -> tuple[Precision, str]:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU computes in it"
        return "float32", "the GPU has no bfloat16"
    if device.type == "cpu" and CPU_FLAGS.exists() and TILES in CPU_FLAGS.read_text(encoding="utf-8").split():
        return "bf16", f"the processor has {TILES}"
    return (
        "float32",
        f"the processor has no {TILES}" if device.type == "cpu" else f"the device is {device.type}",
    )
