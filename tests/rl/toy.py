"""A policy and rewards so small that every outcome of a few rollouts can be enumerated: expectations and
variances are exact, in float64.

Paths hold one to `MAX_LENGTH` of `N_ITEMS` items, repeats allowed. The policy is a table of logits, and the
rewards are a table, both by position and previous item (0 at the start). Choice 0 is the stop; there is none
at position 0, nor behind a path of the longest length.
Shape key: `p` paths, `o` outcomes of m rollouts, `m` rollouts, `t` path position, `c` choices (the stop and
the items).
"""

from collections.abc import Callable
from itertools import product

import torch
from torch.nn.functional import pad

from prorl.rl.advantages import acting, reward_to_go
from prorl.rl.losses import policy_gradient
from prorl.rl.prefixes import Candidates, prefixes_of
from prorl.rl.prospects import Prospects
from prorl.rl.rewards import StepRewards

N_ITEMS, MAX_LENGTH = 2, 4
POSITION = torch.arange(MAX_LENGTH)

PATHS = torch.tensor(
    [
        path + (0,) * (MAX_LENGTH - len(path))
        for n in range(1, MAX_LENGTH + 1)
        for path in product(range(1, N_ITEMS + 1), repeat=n)
    ]
)
LENGTH = (PATHS != 0).sum(-1)
ACTS = acting(LENGTH, MAX_LENGTH)
PREVIOUS = pad(PATHS[:, :-1], (1, 0))

Estimator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def random_table(seed: int) -> torch.Tensor:
    """Standard normal logits or rewards [t, c, c] by position, previous item and choice."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(MAX_LENGTH, N_ITEMS + 1, N_ITEMS + 1, dtype=torch.float64, generator=generator)


def logits_of(stop: list[float], first_item: float) -> torch.Tensor:
    """Logits of a policy that stops at position t with probability `stop[t]`, else takes item 1 with
    probability `first_item`.
    """
    stop = torch.tensor(stop, dtype=torch.float64)
    item = torch.stack([stop, (1 - stop) * first_item, (1 - stop) * (1 - first_item)], dim=-1)
    return item.log()[:, None].repeat(1, N_ITEMS + 1, 1)


def choice_log_probs(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [t, c, c] of logits [t, c, c]: a softmax over the choices, the stop left out at
    position 0.
    """
    no_stop = (POSITION[:, None] == 0) & (torch.arange(N_ITEMS + 1) == 0)
    return logits.masked_fill(no_stop[:, None], -torch.inf).log_softmax(-1)


def action_log_probs(logits: torch.Tensor) -> torch.Tensor:
    """Log-probability of every path's actions, [p, t+1]; 0 where it does not act."""
    return pad(choice_log_probs(logits)[POSITION, PREVIOUS, PATHS], (0, 1)).where(ACTS, 0.0)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Probability of every path, [p]."""
    return action_log_probs(logits).sum(-1).exp()


def path_rewards(table: torch.Tensor) -> torch.Tensor:
    """Step rewards [p, t] of every path from a table [t, c, c]; 0 behind its end."""
    return table[POSITION, PREVIOUS, PATHS].where(PATHS != 0, 0.0)


def true_gradient(rewards: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Gradient [t, c, c] of minus the expected sum of step rewards [p, t]."""
    return torch.func.grad(lambda x: -(probabilities(x) * rewards.sum(-1)).sum())(logits)


def all_outcomes(m: int) -> torch.Tensor:
    """Every outcome of `m` rollouts, [o, m], as rows of `PATHS`."""
    return torch.tensor(list(product(range(len(PATHS)), repeat=m)))


def sampled_outcomes(logits: torch.Tensor, m: int, n: int, seed: int) -> torch.Tensor:
    """`n` outcomes of `m` rollouts drawn from the policy, [o, m]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(probabilities(logits), n * m, replacement=True, generator=generator).view(n, m)


def gradient_estimates(
    estimator: Estimator, rewards: torch.Tensor, logits: torch.Tensor, outcomes: torch.Tensor
) -> torch.Tensor:
    """Gradient [o, t, c, c] of the loss that `estimator` makes of each outcome [o, m], from the step rewards
    [p, t] of all paths.
    """
    return gradients_of(estimator(reward_to_go(rewards, 1.0)[outcomes], ACTS[outcomes]), logits, outcomes)


def gradients_of(advantages: torch.Tensor, logits: torch.Tensor, outcomes: torch.Tensor) -> torch.Tensor:
    """Gradient [o, t, c, c] of the loss of each outcome [o, m] with its `advantages` [o, m, t+1]."""
    m = outcomes.shape[1]
    of_log_probs = torch.func.vmap(torch.func.grad(policy_gradient, argnums=1), in_dims=(0, 0, None))
    weights = of_log_probs(advantages, action_log_probs(logits)[outcomes], m)
    scores = torch.func.jacrev(action_log_probs)(logits).flatten(2)
    gradients = sum(torch.einsum("ot,otx->ox", weights[:, i], scores[outcomes[:, i]]) for i in range(m))
    return gradients.unflatten(1, logits.shape)


def expecting_estimates(
    estimator: Estimator,
    table: torch.Tensor,
    logits: torch.Tensor,
    outcomes: torch.Tensor,
    n_items: int,
    share: float = 1.0,
) -> torch.Tensor:
    """The same [o, t, c, c] where the immediate part is an expectation over the `n_items` likeliest items at
    each prefix, or a `share` of it, from the table [t, c, c] of step rewards; `estimator` is given what that
    leaves.
    """
    m, items, acts = outcomes.shape[1], PATHS[outcomes], ACTS[outcomes]
    prefixes, log_probs = prefixes_of(items, acts), choice_log_probs(logits)
    candidates, values = [], []
    for t, level in enumerate(prefixes):
        here = log_probs[t, level.item]
        found, item = here[:, 1:].topk(n_items)
        candidates.append(Candidates(1 + item, found[..., None], here[:, 0]))
        values.append(table[t, level.item].gather(1, 1 + item))
    share_of_all = torch.full((1, 1, 1), share, dtype=torch.float64)
    prospects = Prospects.of(items, prefixes, candidates, values).with_share(share_of_all)
    to_go = reward_to_go(path_rewards(table), 1.0)[outcomes] - prospects.brought
    sampled = gradients_of(estimator(to_go, acts), logits, outcomes)
    # d of the sum over choices of pi h: pi (h - sum of pi h), at the state of the rollout.
    gain = torch.zeros(*items.shape, N_ITEMS + 1, dtype=torch.float64)
    gain[..., 0] = prospects.stop_gain[..., :-1]
    gain.scatter_(3, prospects.items[:, :, :-1], prospects.gain[:, :, :-1])
    probability = log_probs[POSITION, PREVIOUS[outcomes]].exp()
    slope = probability * (gain - (probability * gain).sum(-1, keepdim=True)) * acts[..., :-1, None]
    expected = torch.zeros_like(sampled)
    outcome = torch.arange(len(outcomes))[:, None, None].expand(items.shape)
    at = outcome, POSITION.expand(items.shape), PREVIOUS[outcomes]
    return sampled - expected.index_put_(at, slope, accumulate=True) / m


def expected_gradient(
    estimator: Estimator, rewards: torch.Tensor, logits: torch.Tensor, m: int
) -> torch.Tensor:
    """Mean [t, c, c] of the gradient estimates over every outcome of `m` rollouts."""
    outcomes = all_outcomes(m)
    return expectation(
        probabilities(logits)[outcomes].prod(-1), gradient_estimates(estimator, rewards, logits, outcomes)
    )


def expectation(probability: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Mean of values [o, ..] under probabilities [o]."""
    return torch.tensordot(probability, values, dims=1)


def variance(probability: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Trace of the covariance of gradients [o, ..] under probabilities [o]."""
    deviations = gradients - expectation(probability, gradients)
    return expectation(probability, deviations.flatten(1).square().sum(-1))


def proportionate_rollouts(logits: torch.Tensor, m: int) -> torch.Tensor:
    """`m` rollouts, as rows of `PATHS`, among which each path is as frequent as it is likely, so that sample
    means are expectations.
    """
    copies = probabilities(logits) * m
    torch.testing.assert_close(copies, copies.round(), rtol=0, atol=1e-9)
    return torch.arange(len(PATHS)).repeat_interleave(copies.round().long())


def step_rewards(rewards: torch.Tensor, rollouts: torch.Tensor) -> StepRewards:
    """The rollouts' step rewards [1, m, t] in place of IoI; CTR and IoR are 0, and no item counts as a
    repeat.
    """
    ioi, real = rewards[rollouts][None], (PATHS[rollouts] != 0)[None]
    nothing = torch.zeros_like(ioi)
    return StepRewards({"ctr": nothing, "ioi": ioi, "ior": nothing}, real, torch.zeros_like(real))
