"""The loss of a step, in passes: the rollouts of some prompts at a time, so that memory is bounded and little
padding is computed.

Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions (flat [b * m * (t+1)]), `r` tokens of one
level.
"""

from dataclasses import dataclass

import torch

from prorl.policy.actions import Actions, masked_log_softmax
from prorl.policy.catalogue import Paths
from prorl.rl.advantages import ESTIMATORS
from prorl.rl.critic import value_loss
from prorl.rl.kl import SAMPLED, exact_kl
from prorl.rl.learner import Learner
from prorl.rl.losses import clipped_policy_gradient, entropy, is_clipped, policy_gradient
from prorl.rl.rollouts import Prompts

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
    "value_error",
)


@dataclass
class Pass:
    """The rollouts of some prompts. `advantages` and `old_log_prob` [p] are those of the first update; None
    before it.

    `to_go` and `acts` are [p] too. The advantages of a critic depend on the decoder's states, the others are
    given.
    """

    prompts: Prompts
    actions: Actions
    to_go: torch.Tensor
    acts: torch.Tensor
    advantages: torch.Tensor | None
    old_log_prob: torch.Tensor | None = None


def passes_of_halves(
    learner: Learner,
    prompts: Prompts,
    paths: Paths,
    to_go: torch.Tensor,
    acts: torch.Tensor,
    first: torch.Tensor,
) -> tuple[list[Pass], list[Pass]]:
    """The passes of the rollouts of the `first` [b] prompts, and of those of the others."""
    estimator = learner.settings.estimator
    advantages = None if estimator == "a2c" else ESTIMATORS[estimator](to_go, acts)
    halves = []
    for half in (first, ~first):
        passes = []
        for rows in _of_a_pass(half.nonzero()[:, 0], paths.length, learner.catalogue.n_levels):
            own = prompts[rows]
            passes.append(
                Pass(
                    own,
                    Actions.of_paths(learner.catalogue, own.history, own.target, paths[rows]),
                    to_go[rows].flatten(),
                    acts[rows].flatten(),
                    None if advantages is None else advantages[rows].flatten(),
                )
            )
        halves.append(passes)
    return halves[0], halves[1]


def _of_a_pass(rows: torch.Tensor, length: torch.Tensor, n_levels: int) -> list[torch.Tensor]:
    """The prompts `rows` [r], those of short paths first, cut where `TOKENS_PER_PASS` are reached; from
    `length` [b, m] in items.
    """
    n_tokens = (length * n_levels + 1).sum(dim=1)[rows]
    order = n_tokens.argsort(stable=True)
    number = (n_tokens[order].cumsum(0) - 1) // TOKENS_PER_PASS
    return (
        list(rows[order].split(torch.unique_consecutive(number, return_counts=True)[1].tolist()))
        if len(rows)
        else []
    )


def pass_loss(
    learner: Learner, part: Pass, n_paths: int, *, critic_alone: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a pass as its share of all `n_paths`, and its `LOSS_SUMS`; where `critic_alone`, the policy
    takes no gradient.
    """
    settings = learner.settings
    with learner.run.autocast():
        tokens = learner.catalogue.prompt_tokens(part.prompts.history, part.prompts.target)
        with torch.set_grad_enabled(not critic_alone):
            states = learner.policy(tokens, part.actions.decoder_tokens, part.actions.n_read)
        with torch.no_grad():
            reference_states = learner.reference(tokens, part.actions.decoder_tokens, part.actions.n_read)
    value_error = torch.zeros((), device=states.device)
    if learner.critic is not None:
        acts, values = part.acts, _values(learner, part, states)
        value_error = value_loss(part.to_go[acts], values, 1)
        if part.advantages is None:
            part.advantages = torch.zeros_like(part.to_go)
            part.advantages[acts] = part.to_go[acts] - values.detach()
    terms = _terms(learner, part, states.flatten(0, 2), reference_states.flatten(0, 2))
    advantages, log_prob = part.advantages, terms.log_prob
    clipped = torch.zeros((), device=states.device)
    if part.old_log_prob is None:
        part.old_log_prob = log_prob.detach()
        loss = policy_gradient(advantages, log_prob, n_paths)
    else:
        loss = clipped_policy_gradient(advantages, log_prob, part.old_log_prob, settings.clip, n_paths)
        clipped = is_clipped(advantages, log_prob.detach(), part.old_log_prob, settings.clip).sum()
    anchor = terms.kl if settings.kl.estimator == "exact" else terms.sampled_kl
    loss = loss + learner.kl_coefficient * anchor / n_paths
    if settings.entropy_bonus:
        loss = loss - settings.entropy_bonus * terms.entropy / n_paths
    if learner.critic is not None:
        value_part = settings.a2c.coefficient * value_error / n_paths
        loss = value_part if critic_alone else loss + value_part
    sums = (
        *(loss, terms.kl, terms.entropy, terms.n_tokens, clipped),
        *(part.acts.sum(), advantages.double().sum(), (advantages.double() ** 2).sum(), value_error),
    )
    return loss, torch.stack([x.detach().double() for x in sums])


@dataclass(frozen=True)
class _Terms:
    """log_prob [p] of the actions; sums over the tokens of those that count: exact KL, entropy, their number;
    and over them: sampled KL.
    """

    log_prob: torch.Tensor
    kl: torch.Tensor
    sampled_kl: torch.Tensor
    entropy: torch.Tensor
    n_tokens: torch.Tensor


def _terms(learner: Learner, part: Pass, states: torch.Tensor, reference_states: torch.Tensor) -> _Terms:
    """The log-probabilities of a pass, and what they say of policy and reference, from their decoder states
    [b * m * s, d].
    """
    settings, device = learner.settings, states.device
    log_prob, reference_log_prob = (torch.zeros(part.to_go.numel(), device=device) for _ in range(2))
    kl, nats = torch.zeros((), device=device), torch.zeros((), device=device)
    for taken in part.actions.levels:
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
    return _Terms(log_prob, kl, sampled_kl, nats, n_tokens.sum())


def _values(learner: Learner, part: Pass, states: torch.Tensor) -> torch.Tensor:
    """The critic's values of the actions that are made, from decoder states [b, m, s, d] at the item
    boundaries.
    """
    b, m = states.shape[:2]
    prompt, rollout, position = part.acts.view(b, m, -1).nonzero(as_tuple=True)
    return learner.critic.critic(states[prompt, rollout, position * learner.catalogue.n_levels])
