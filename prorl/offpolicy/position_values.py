"""A model of rewards that knows positions alone, for the doubly robust estimate of paths.

It expects at a position what other users earned from there on. It is fitted on the other half of the users,
so that no request meets a model that has seen its own user, and the estimate stays unbiased (cross-fitting,
Kallus and Uehara 2020). What it explains, how much a path that is still under way will earn, no longer adds
to the variance.

Shape key: `n` requests, `t` path position.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from prorl.offpolicy.estimate import REWARDS
from prorl.offpolicy.log import Log
from prorl.offpolicy.outcomes import OUTCOMES
from prorl.offpolicy.paths import Values
from prorl.offpolicy.policy import BATCH, action_log_probs
from prorl.policy.guide import PolicyGuide


@dataclass(frozen=True)
class PositionValues:
    """What users earned from a position on, as `estimate` takes `values`, for `guide` at a `temperature`
    under the rules that the log has of each request.

    `rewards`: what each outcome is worth; `seed`: of the halves of users.
    """

    guide: PolicyGuide
    temperature: float = 1.0
    rewards: Mapping[str, float] = field(default_factory=lambda: REWARDS)
    seed: int = 0

    def __call__(self, log: Log) -> Values:
        """The values at all positions of the log."""
        gains = np.array([self.rewards[outcome] for outcome in OUTCOMES])
        earned = log.by_position(gains[log.outcome], 0.0)
        q = from_here_on(earned, log.paths > 0, halves(log.user, self.seed))
        goes_on = 1 - stop_probabilities(self.guide, log, self.temperature)
        return Values(q[:, :-1] * (log.paths > 0), q * goes_on * log.acts)


def halves(user: np.ndarray, seed: int) -> np.ndarray:
    """Whether each request [n] belongs to the second half of the users [n], drawn with `seed`."""
    users, number = np.unique(user, return_inverse=True)
    is_second = np.random.default_rng(seed).permutation(len(users)) >= (len(users) + 1) // 2
    return is_second[number]


def from_here_on(earned: np.ndarray, is_shown: np.ndarray, is_second: np.ndarray) -> np.ndarray:
    """For each request and position [n, t + 1], the mean reward from there on of those requests of the other
    half that were shown an item there, from rewards `earned` [n, t], 0 behind the end; 0 where none was.
    """
    to_go = earned[:, ::-1].cumsum(1)[:, ::-1]
    found = np.zeros((len(earned), earned.shape[1] + 1))
    for half in (False, True):
        others = is_second != half
        counts = is_shown[others].sum(0)
        sums = (to_go * is_shown)[others].sum(0)
        found[is_second == half, :-1] = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    return found


def stop_probabilities(guide: PolicyGuide, log: Log, temperature: float) -> np.ndarray:
    """The probability [n, t + 1] of stopping before each position, and behind the last one, given the items
    before it; 0 where the rules forbid a stop, and behind a path's end.
    """
    device = guide.policy.shared.weight.device
    history, target, paths = (
        torch.from_numpy(part).to(device) for part in (log.history, log.target, log.paths)
    )
    found = np.zeros((len(log), paths.shape[1] + 1))
    for number, rules in enumerate(log.rules):
        own = replace(guide, catalogue=replace(guide.catalogue, decoding=rules))
        requests = torch.from_numpy(np.flatnonzero(log.rule == number)).to(device)
        for position in range(max(1, rules.min_length), min(rules.max_length, found.shape[1])):
            for rows in requests.split(BATCH):
                before = paths[rows, :position]
                log_prob = action_log_probs(own, history[rows], target[rows], before, temperature)[:, -1]
                stops = log_prob.double().exp() * (before != 0).all(1)
                found[rows.cpu().numpy(), position] = stops.cpu().numpy()
    return found
