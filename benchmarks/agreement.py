"""Whether two training steps are the same: their losses and gradients."""

import torch
from torch import nn

from benchmarks.harness import Disagreement

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # of the loss; of the gradient, as a share of its norm


class KeptGradient(torch.optim.SGD):
    """Takes no step, but keeps the gradient of `model` that a step would have used.

    Parameters are in the order of their names.
    """

    def __init__(self, model: nn.Module):
        super().__init__([parameter for _, parameter in sorted(model.named_parameters())])

    def step(self) -> None:
        """Keep the gradient."""
        self.gradient = torch.cat([parameter.grad.flatten() for parameter in self.param_groups[0]["params"]])


def same_loss_and_gradient(
    loss: float, other_loss: float, kept: KeptGradient, other_kept: KeptGradient
) -> str:
    """How close the two are, in one line. Raises `Disagreement` where they are not the same."""
    off_loss = abs(loss - other_loss)
    off = ((kept.gradient - other_kept.gradient).norm() / kept.gradient.norm()).item()
    if not (off_loss <= LOSS_TOLERANCE and off <= GRADIENT_TOLERANCE):
        raise Disagreement(
            f"losses {loss:.6f} and {other_loss:.6f}, allowed: {LOSS_TOLERANCE} apart; "
            f"gradients {off:.1e} of their norm apart, allowed: {GRADIENT_TOLERANCE}"
        )
    precision = str(kept.gradient.dtype).removeprefix("torch.")
    return (
        f"in {precision} on the same paths, losses within {off_loss:.0e} "
        f"and gradients within {off:.0e} of their norm"
    )
