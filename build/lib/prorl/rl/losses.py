"""The policy gradient, its clipped form for further updates on the same rollouts, and the entropy of choices.

Shape key: `p` actions of all paths, `r` tokens of one level, `c` choices of that level.
"""

import torch

from prorl.config.finetune import Clip
from prorl.t5.kernels import exponential


def policy_gradient(advantages: torch.Tensor, log_probs: torch.Tensor, n_paths: int) -> torch.Tensor:
    """-(1 / paths) sum over actions of A log pi(action), from advantages [p] and log-probabilities [p]
    (Williams 1992).
    """
    return -(advantages.detach() * log_probs).sum() / n_paths


def clipped_policy_gradient(
    advantages: torch.Tensor, log_probs: torch.Tensor, old_log_probs: torch.Tensor, clip: Clip, n_paths: int
) -> torch.Tensor:
    """-(1 / paths) sum over actions of min(w A, clip(w, 1 - low, 1 + high) A), w = pi / pi_old the importance
    weight of an action.

    PPO's surrogate (Schulman et al. 2017), its upper bound apart from the lower (DAPO, Yu et al. 2025). Where
    pi is pi_old, w is 1 and the gradient that of `policy_gradient`.
    """
    advantages = advantages.detach()
    weights = (log_probs - old_log_probs.detach()).exp()
    clamped = weights.clamp(1 - clip.low, 1 + clip.high)
    return -torch.minimum(weights * advantages, clamped * advantages).sum() / n_paths


def is_clipped(
    advantages: torch.Tensor, log_probs: torch.Tensor, old_log_probs: torch.Tensor, clip: Clip
) -> torch.Tensor:
    """Which actions [p] have left the bounds in the direction that their advantage asks for, and so add no
    gradient any more.
    """
    weights = (log_probs - old_log_probs).exp()
    return ((advantages > 0) & (weights > 1 + clip.high)) | ((advantages < 0) & (weights < 1 - clip.low))


def entropy(log_probs: torch.Tensor) -> torch.Tensor:
    """Entropy of each token's distribution, [r] in nats, from log-probabilities [r, c]."""
    return -(exponential(log_probs) * torch.where(log_probs > -torch.inf, log_probs, 0.0)).sum(-1)
