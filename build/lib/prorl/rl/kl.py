"""The anchor: Kullback-Leibler divergence to a reference policy, exact or estimated on samples, and a
coefficient that follows a target.

Shape key: `p` sampled actions, `r` tokens of one level, `c` choices of that level.
"""

from collections.abc import Callable

import torch

from prorl.t5.kernels import exponential

LARGEST_ERROR, GAIN = 0.2, 0.1  # Ziegler et al. 2019, section 2.2


def exact_kl(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(pi || pi_0) of each token, [r], summed over all choices: sum of pi (log pi - log pi_0), from
    log-probabilities [r, c].

    Both renormalise over the same mask; a masked choice (-inf in both) adds nothing.
    """
    possible = log_probs > -torch.inf
    difference = torch.where(possible, log_probs, 0.0) - torch.where(possible, reference, 0.0)
    return (exponential(log_probs) * difference).sum(-1)


def k1(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """log pi - log pi_0 of each sampled action, [p] (Schulman 2020, "Approximating KL divergence").

    Its mean is the KL. As a loss its expected gradient is that of sum pi, 0: it is no anchor.
    """
    return log_probs - reference


def k2(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """(log pi - log pi_0)^2 / 2 of each sampled action, [p] (Schulman 2020).

    Its mean is a biased, low-variance estimate of the KL. As a loss its expected gradient is that of KL(pi ||
    pi_0).
    """
    return (log_probs - reference) ** 2 / 2


def k3(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """pi_0 / pi - 1 - log(pi_0 / pi) of each sampled action, [p] (Schulman 2020); never negative.

    Its mean is the KL. As a loss its expected gradient is that of the other direction, KL(pi_0 || pi).
    """
    log_ratio = reference - log_probs
    return log_ratio.exp() - 1 - log_ratio


SAMPLED: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def adapted(coefficient: float, kl: float, target: float | None) -> float:
    """The next step's coefficient: larger where `kl` is above `target`, smaller below; the same where there
    is no target.

    A proportional controller in log space (Ziegler et al. 2019, section 2.2): times 1 + 0.1 clip(kl / target
    - 1, -0.2, 0.2). KL and target are in nats per path.
    """
    if target is None:
        return coefficient
    error = max(-LARGEST_ERROR, min(LARGEST_ERROR, kl / target - 1))
    return coefficient * (1 + GAIN * error)
