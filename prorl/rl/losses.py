"""The policy gradient and its anchor.

Shape key: `p` actions of all paths, `r` tokens of one level, `c` choices of that level.
"""

import torch


def policy_gradient(advantages: torch.Tensor, log_probs: torch.Tensor, n_paths: int) -> torch.Tensor:
    """-(1 / paths) sum over actions of A log pi(action), from advantages [p] and log-probabilities [p] (Williams 1992)."""
    return -(advantages.detach() * log_probs).sum() / n_paths


def exact_kl(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(pi || pi_0) of each token, [r], summed over all choices: sum of pi (log pi - log pi_0), from log-probabilities [r, c].

    Both renormalise over the same mask; a masked choice (-inf in both) adds nothing.
    """
    possible = log_probs > -torch.inf
    difference = torch.where(possible, log_probs, 0.0) - torch.where(possible, reference, 0.0)
    return (log_probs.exp() * difference).sum(-1)


def entropy(log_probs: torch.Tensor) -> torch.Tensor:
    """Entropy of each token's distribution, [r] in nats, from log-probabilities [r, c]."""
    return -(log_probs.exp() * torch.where(log_probs > -torch.inf, log_probs, 0.0)).sum(-1)
