"""One step of Muon on the matrices of a policy.

    python -m benchmarks.muon [--quick] [--results <folder>]

Ours takes all matrices of a shape at once, in float32. The obvious version is `torch.optim.Muon`, which takes
one after another, in bf16. Both move the same matrices by the same gradients, of random numbers; AdamW's part
is left out. The learning rate is so small that every step starts from nearly the same weights.
"""

from collections.abc import Iterator

import torch

from benchmarks.harness import Case, Claim, Disagreement, Options, main
from benchmarks.models import models
from prorl.optimizers import MOMENTUM, muon

CLAIM = Claim("Muon: steps on the matrices of a policy", cpu=1.5, gpu=4)
LEARNING_RATE, WEIGHT_DECAY = 1e-6, 0.05
LEAST_COSINE = 0.98  # between the steps of the two; bf16 has eight bits


def cases(options: Options) -> Iterator[Case]:
    """One case: the default's policy."""
    policy = models(options.quick, options.device).policy
    optimizer = muon(policy, LEARNING_RATE, WEIGHT_DECAY)
    matrices = next(group["params"] for group in optimizer.param_groups if group["orthogonal"])
    copies = [torch.nn.Parameter(matrix.detach().clone()) for matrix in matrices]
    theirs = torch.optim.Muon(copies, LEARNING_RATE, WEIGHT_DECAY, MOMENTUM, adjust_lr_fn="match_rms_adamw")
    generator = torch.Generator(options.device).manual_seed(0)
    gradients = [torch.randn(matrix.shape, device=options.device, generator=generator) for matrix in matrices]

    def stepping(own: list[torch.nn.Parameter], by: torch.optim.Optimizer) -> list[torch.Tensor]:
        before = [matrix.detach().clone() for matrix in own]
        for matrix, gradient in zip(own, gradients, strict=True):
            matrix.grad = gradient.clone()
        by.step()
        return [(matrix.detach() - start) / LEARNING_RATE for matrix, start in zip(own, before, strict=True)]

    def check(own: list[torch.Tensor], others: dict[str, list[torch.Tensor]]) -> str:
        (other,) = others.values()
        cosine = min(
            torch.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0).item()
            for a, b in zip(own, other, strict=True)
        )
        if cosine < LEAST_COSINE:
            raise Disagreement(f"steps have a cosine of {cosine:.3f}, allowed: at least {LEAST_COSINE}")
        return f"the steps of {len(own)} matrices have a cosine of at least {cosine:.4f}"

    yield Case(
        f"{len(matrices)} matrices",
        lambda: stepping(matrices, optimizer),
        {"torch.optim.Muon": lambda: stepping(copies, theirs)},
        check,
        "matrices",
        len,
    )


if __name__ == "__main__":
    main(CLAIM, cases)
