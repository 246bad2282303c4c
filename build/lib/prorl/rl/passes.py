"""The loss of a step, in passes: the rollouts of some prompts at a time, so that memory is bounded and little
padding is computed.

Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions (flat [b * m * (t+1)]), `r` tokens of one
level.
"""

from dataclasses import dataclass

import torch

from prorl.policy.actions import Actions, masked_log_softmax
from prorl.policy.catalogue import Catalogue, Paths
from prorl.prompts import Prompts
from prorl.rl.kl import SAMPLED, exact_kl
from prorl.rl.learner import Learner
from prorl.rl.losses import clipped_policy_gradient, entropy, is_clipped, policy_gradient
from prorl.rl.prospects import Prospects
from prorl.t5.kernels import exponential

TOKENS_PER_PASS = 8192  # about; prompts whose paths are alike in total length share a pass
LOSS_SUMS = (
    "loss",
    "kl",
    "entropy",
    "tokens",
    "clipped",
    "actions",
    "advantage",
    "advantage_square",
    "estimator_loss",
)


@dataclass(frozen=True)
class Pass:
    """The rollouts of some prompts: their actions, and for each its reward-to-go, whether it is made, and its
    advantage as far as rewards tell, all [p].

    first_half: whether the prompts are of the step's first half, which counts in `GradientVariance` alone.
    prospects [p]: what could come next, where the estimator takes an expectation over it.
    """

    prompts: Prompts
    actions: Actions
    to_go: torch.Tensor
    acts: torch.Tensor
    advantages: torch.Tensor
    first_half: bool
    prospects: Prospects | None = None


@dataclass(frozen=True)
class BeforeUpdates:
    """Advantages and log-probabilities [p] of a pass under the policy that drew it."""

    advantages: torch.Tensor
    log_prob: torch.Tensor


@dataclass(frozen=True)
class PassLoss:
    """The loss of a pass as its share of all paths, its `LOSS_SUMS`, and what further updates on it need."""

    loss: torch.Tensor
    sums: torch.Tensor
    before: BeforeUpdates


def in_passes(
    catalogue: Catalogue,
    prompts: Prompts,
    paths: Paths,
    to_go: torch.Tensor,
    acts: torch.Tensor,
    advantages: torch.Tensor,
    first_half: torch.Tensor,
    prospects: Prospects | None = None,
) -> list[Pass]:
    """Passes over all rollouts, from `to_go`, `acts` and `advantages`, and `prospects` if any, [b, m, t+1].

    Those of the prompts in the `first_half` [b] come first, then those of the others.
    """
    passes = []
    for half, is_first in ((first_half, True), (~first_half, False)):
        for rows in rows_of_passes(half.nonzero()[:, 0], paths.length, catalogue.n_levels):
            own = prompts[rows]
            actions = Actions.of_paths(catalogue, own.history, own.target, paths[rows])
            flat = to_go[rows].flatten(), acts[rows].flatten(), advantages[rows].flatten()
            ahead = None if prospects is None else prospects[rows].of_actions()
            passes.append(Pass(own, actions, *flat, is_first, ahead))
    return passes


def rows_of_passes(rows: torch.Tensor, length: torch.Tensor, n_levels: int) -> list[torch.Tensor]:
    """The prompts `rows` [r], those of short paths first, cut where `TOKENS_PER_PASS` are reached; from
    `length` [b, m] in items.
    """
    if not len(rows):
        return []
    n_tokens = (length * n_levels + 1).sum(dim=1)[rows]
    order = n_tokens.argsort(stable=True)
    number = (n_tokens[order].cumsum(0) - 1) // TOKENS_PER_PASS
    return list(rows[order].split(torch.unique_consecutive(number, return_counts=True)[1].tolist()))


def pass_loss(
    learner: Learner,
    part: Pass,
    n_paths: int,
    before: BeforeUpdates | None = None,
    *,
    warming_up: bool = False,
) -> PassLoss:
    """The loss of a pass, a share of that of all `n_paths`.

    `before` is what the first update on the pass has given; from then on the policy gradient is clipped.
    While `warming_up`, the loss is the estimator's own, and the policy takes no gradient.
    """
    settings, estimator = learner.settings, learner.estimator
    with learner.run.autocast():
        tokens = learner.catalogue.prompt_tokens(part.prompts.history, part.prompts.target)
        with torch.set_grad_enabled(not warming_up):
            states = learner.policy(tokens, part.actions.decoder_tokens, part.actions.n_read)
        with torch.no_grad():
            reference_states = learner.reference(tokens, part.actions.decoder_tokens, part.actions.n_read)
    boundaries = states[:, :, :: learner.catalogue.n_levels]
    baseline, estimator_loss = estimator.read(boundaries, part.to_go, part.acts)
    terms = _terms(learner, part, states.flatten(0, 2), reference_states.flatten(0, 2))
    clipped = torch.zeros((), device=states.device)
    if before is None:
        before = BeforeUpdates(part.advantages - baseline, terms.log_prob.detach())
        loss = policy_gradient(before.advantages, terms.log_prob, n_paths)
    else:
        old, log_prob = before.log_prob, terms.log_prob
        loss = clipped_policy_gradient(before.advantages, log_prob, old, settings.clip, n_paths)
        clipped = is_clipped(before.advantages, log_prob.detach(), old, settings.clip).sum()
    loss = loss - terms.expected / n_paths
    anchor = terms.kl if settings.kl.estimator == "exact" else terms.sampled_kl
    loss = loss + learner.kl_coefficient * anchor / n_paths
    if settings.entropy_bonus:
        loss = loss - settings.entropy_bonus * terms.entropy / n_paths
    own_loss = estimator.coefficient * estimator_loss / n_paths
    loss = own_loss if warming_up else loss + own_loss
    advantages = before.advantages.double()
    sums = (
        *(loss, terms.kl, terms.entropy, terms.n_tokens, clipped),
        *(part.acts.sum(), advantages.sum(), (advantages**2).sum(), estimator_loss),
    )
    return PassLoss(loss, torch.stack([x.detach().double() for x in sums]), before)


@dataclass(frozen=True)
class _Terms:
    """log_prob [p] of the actions; exact KL and entropy, summed over the tokens of those that are made, and
    the number of these tokens; sampled KL, summed over the actions that are made. expected: what is expected
    of the choices at once, summed over these tokens, 0 where the estimator takes no expectation.
    """

    log_prob: torch.Tensor
    kl: torch.Tensor
    sampled_kl: torch.Tensor
    entropy: torch.Tensor
    n_tokens: torch.Tensor
    expected: torch.Tensor


def _terms(learner: Learner, part: Pass, states: torch.Tensor, reference_states: torch.Tensor) -> _Terms:
    """The terms of a pass, from the decoder states [b * m * s, d] of policy and reference."""
    settings, device = learner.settings, states.device
    log_prob, reference_log_prob = (torch.zeros(part.to_go.numel(), device=device) for _ in range(2))
    kl, nats, expected = (torch.zeros((), device=device) for _ in range(3))
    for level, taken in enumerate(part.actions.levels):
        counted = part.acts[taken.action].float()
        log_probs = masked_log_softmax(
            learner.policy.logits(states[taken.source], taken.ids) / settings.temperature, taken.allowed
        )
        with torch.no_grad():
            reference = (
                learner.reference.logits(reference_states[taken.source], taken.ids) / settings.temperature
            )
            reference = masked_log_softmax(reference, taken.allowed)
        with torch.set_grad_enabled(log_probs.requires_grad and settings.kl.estimator == "exact"):
            kl = kl + (exact_kl(log_probs, reference) * counted).sum()
        with torch.set_grad_enabled(log_probs.requires_grad and settings.entropy_bonus > 0):
            nats = nats + (entropy(log_probs) * counted).sum()
        if part.prospects is not None:
            gain = part.prospects.of_choices(learner.catalogue, level, taken)
            expected = expected + ((exponential(log_probs) * gain).sum(-1) * counted).sum()
        log_prob = log_prob.index_add(0, taken.action, log_probs.gather(1, taken.chosen[:, None])[:, 0])
        reference_log_prob = reference_log_prob.index_add(
            0, taken.action, reference.gather(1, taken.chosen[:, None])[:, 0]
        )
    n_tokens = part.actions.n_tokens * part.acts
    if settings.item_log_prob == "mean":
        log_prob, reference_log_prob = (x / n_tokens.clamp(min=1) for x in (log_prob, reference_log_prob))
    sampled_kl = torch.zeros((), device=device)
    if settings.kl.estimator != "exact":
        sampled_kl = SAMPLED[settings.kl.estimator](log_prob[part.acts], reference_log_prob[part.acts]).sum()
    return _Terms(log_prob, kl, sampled_kl, nats, n_tokens.sum(), expected)
