"""Muon: an optimiser for the matrices of a network, which moves all directions of a matrix alike.

A gradient's momentum is replaced by the nearest matrix with orthogonal rows or columns before it is taken
as a step: directions that few examples ask for count as much as those that all ask for. A few steps of a
polynomial iteration of Newton and Schulz find that matrix, near enough, by products alone. Token
embeddings, biases and the scales of norms are left to AdamW, as the authors advise. A step's entries have
the size of AdamW's, so the same learning rates suit both.

`torch.optim.Muon` takes one matrix after another, in bf16, which is slow where the hardware does not multiply
it; here all matrices of a shape are taken at once, in float32. A test compares the two.

Source: Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*; the size of a step is
that of Liu et al. 2025, *Muon is scalable for LLM training*.
Shape key: `k` matrices of `r` rows and `c` columns.
"""

from collections.abc import Callable

import torch
from torch import nn

from prorl.training import adamw, scale_learning_rate

MOMENTUM = 0.95
POLYNOMIAL = 3.4445, -4.7750, 2.0315  # of x, x^3 and x^5: pulls singular values of 0..1 to about 1
ITERATIONS = 5
STEP_SIZE = 0.2  # root mean square of a step's entries over the learning rate, as AdamW's in practice


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups marked `orthogonal`, which hold matrices alone."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient; those of the matrices are used up."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_matrices(group)
        return super().step(closure)

    def _step_matrices(self, group: dict) -> None:
        ahead: dict[torch.Size, list[torch.Tensor]] = {}
        moved: dict[torch.Size, list[torch.Tensor]] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                momentum = self._momentum(matrix).mul_(MOMENTUM).add_(matrix.grad)
                ahead.setdefault(matrix.shape, []).append(matrix.grad.add(momentum, alpha=MOMENTUM))
                moved.setdefault(matrix.shape, []).append(matrix)
                matrix.grad = None  # AdamW passes over what has none
        for shape, matrices in moved.items():
            steps = orthogonalised(torch.stack(ahead[shape])) * (STEP_SIZE * max(shape) ** 0.5)
            for matrix, step in zip(matrices, steps, strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=group["lr"])

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        if not self.state[matrix]:
            # AdamW looks for a `step` in every state that is put back.
            self.state[matrix] = {"step": torch.zeros(()), "momentum": torch.zeros_like(matrix)}
        return self.state[matrix]["momentum"]


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Of each of `matrices` [k, r, c], about the nearest with orthogonal rows or, if those are more, columns:
    its singular values, but for those near 0, come to lie between .7 and 1.2.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    first, third, fifth = POLYNOMIAL
    for _ in range(ITERATIONS):
        square = x @ x.mT
        higher = torch.baddbmm(square, square, square, beta=third, alpha=fifth)
        x = torch.baddbmm(x, higher, x, beta=first)
    return x.mT if is_tall else x


def muon(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    own_rates: dict[torch.Tensor, float] | None = None,
) -> torch.optim.AdamW:
    """Muon for the matrices of `model`, AdamW for its embeddings, vectors, and the parameters with a learning
    rate of their own; weight decay on the matrices alone.
    """
    own_rates = own_rates or {}
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    general = [parameter for parameter in model.parameters() if parameter not in own_rates]
    matrices = [p for p in general if p.ndim == 2 and p not in tables]
    others = [p for p in general if p.ndim != 2 or p in tables]
    groups = [
        {"params": matrices, "peak": learning_rate, "weight_decay": weight_decay, "orthogonal": True},
        {"params": others, "peak": learning_rate},
        *({"params": [parameter], "peak": rate} for parameter, rate in own_rates.items()),
    ]
    groups = [{"orthogonal": False, "weight_decay": 0.0, **group} for group in groups if group["params"]]
    optimizer = Muon(groups, lr=learning_rate, fused=True)
    scale_learning_rate(optimizer, 1.0)
    return optimizer


OPTIMIZERS = {"muon": muon, "adamw": adamw}
