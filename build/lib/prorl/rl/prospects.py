"""What could come next at every prefix that rollouts have acted at: the likeliest items, how likely they
are, and what they would bring at once.

With them the immediate part of the policy gradient is an expectation instead of one sample (expected policy
gradients, Ciosek and Whiteson 2018; mean actor-critic, Asadi et al. 2017). At a prefix s let K be its
likeliest items and the stop, r(a) what action a brings at once (0 for the stop), r_ the mean of r over K
under the policy, and h(a) = share (r(a) - r_) on K, 0 elsewhere. Then

    sum over a of pi(a) h(a) grad log pi(a)  +  (G - r_ - h(a')) grad log pi(a')

has the expectation of G grad log pi(a'), a' being the action sampled and G its reward-to-go: what is put in
on the left is taken out on the right, on average. An estimator compares what is left of G with a baseline as
ever.

Any share will do that does not depend on a'. Where what an item brings is kept, it is 1, and what is left of
G is what comes later. But an item that raises the target's interest leaves less of it to later items, so that
what it brings at once says little of G, and to take it out whole would add noise: `shares` finds the share
that takes out most (control variates).

An item is several tokens, and the sum over items would need the decoder's states along the tokens of each. So
it is taken token by token, at the states that the rollout has visited: at each, the sum over all choices of
pi(choice) times the mean of h over the items of K behind it. Its expectation over the rollout's own tokens is
the sum over items, and a training pass reads not a token more.

Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions (flat [b * m * (t+1)]), `r` prefixes of
one length, or tokens of one level, `c` candidates, `k` token within an item.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch

from prorl.policy.actions import LevelActions
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Prompts
from prorl.rl.advantages import against_others, slope_of_others
from prorl.rl.prefixes import Candidates, Prefixes
from prorl.rl.rewards import RatedPaths, StepRewards, step_rewards
from prorl.simulators.protocol import BranchingSimulator, Scores
from prorl.t5.kernels import exponential
from prorl.t5.packing import within_groups


@dataclass(frozen=True)
class Prospects:
    """The prospects of actions, all [.., c] or [..], `..` being [b, m, t+1] or [p].

    items [.., c], 0 where there are fewer, and log_probs [.., c, k] of their tokens: as `Candidates`. gain
    [.., c], stop_gain [..]: h of each item and of the stop. taken [..]: the item of the action itself, 0 for
    a stop; mean [..] and own_gain [..]: r_, and h of the action itself.
    """

    items: torch.Tensor
    log_probs: torch.Tensor
    gain: torch.Tensor
    stop_gain: torch.Tensor
    taken: torch.Tensor
    mean: torch.Tensor
    own_gain: torch.Tensor

    @classmethod
    def of(
        cls,
        items: torch.Tensor,
        prefixes: list[Prefixes],
        candidates: list[Candidates],
        values: list[torch.Tensor],
    ) -> "Prospects":
        """The prospects [b, m, t+1] of rollouts `items` [b, m, t], from the candidates at the prefixes of
        each length and their `values` [r, c]; with a share of 1, and 0 where a rollout does not act.
        """
        b, m, n_positions = items.shape
        c, k = candidates[0].log_probs.shape[1:]
        whole = items.new_zeros(b, m, n_positions + 1)
        real = candidates[0].log_probs.new_zeros(b, m, n_positions + 1)
        found = cls(
            items=whole[..., None].repeat(1, 1, 1, c),
            log_probs=real[..., None, None].repeat(1, 1, 1, c, k),
            gain=real[..., None].repeat(1, 1, 1, c),
            stop_gain=real.clone(),
            taken=torch.cat([items, whole[..., :1]], dim=2),
            mean=real.clone(),
            own_gain=real.clone(),
        )
        for t, (level, own, value) in enumerate(zip(prefixes, candidates, values, strict=True)):
            acts = level.number >= 0
            number, taken = level.number[acts], items[..., t][acts]
            mean, gain = gains(own, value)
            found.items[:, :, t][acts] = own.items[number]
            found.log_probs[:, :, t][acts] = own.log_probs[number]
            found.gain[:, :, t][acts] = gain[number]
            found.stop_gain[:, :, t][acts] = -mean[number]
            found.mean[:, :, t][acts] = mean[number]
            is_taken = own.items[number] == taken[:, None]
            found.own_gain[:, :, t][acts] = torch.where(
                taken > 0, (gain[number] * is_taken).sum(1), -mean[number]
            )
        return found

    def __getitem__(self, rows: torch.Tensor) -> "Prospects":
        return Prospects(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def brought(self) -> torch.Tensor:
        """r_ + h of the action itself, which is taken from its reward-to-go, [..]."""
        return self.mean + self.own_gain

    def with_share(self, share: torch.Tensor) -> "Prospects":
        """The same with `share` [b, 1, t+1] in place of 1."""
        return replace(
            self,
            gain=self.gain * share[..., None],
            stop_gain=self.stop_gain * share,
            own_gain=self.own_gain * share,
        )

    def of_actions(self) -> "Prospects":
        """The same by actions [p] in place of [b, m, t+1]."""
        return Prospects(*(getattr(self, field.name).flatten(0, 2) for field in fields(self)))

    def of_choices(self, catalogue: Catalogue, level: int, tokens: LevelActions) -> torch.Tensor:
        """The mean of h over the items behind each choice [r, choices] that `tokens` of `level` were chosen
        among, 0 behind those that lead to no candidate.
        """
        at, codes = tokens.action, catalogue.trie.item_codes
        candidates, own = codes[self.items[at]], codes[self.taken[at]]
        ahead = (candidates[..., :level] == own[:, None, :level]).all(-1)
        share = exponential(self.log_probs[at][..., level + 1 :].sum(-1))
        gain = self.gain.new_zeros(len(at), len(tokens.ids))
        gain.scatter_add_(1, candidates[..., level], self.gain[at] * share * ahead)
        if level == 0:  # the stop's is the last choice
            gain[:, -1] = self.stop_gain[at]
        return gain


def gains(candidates: Candidates, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean [r] of the candidates' `values` [r, c] and of the stop's 0 under the policy, and what each
    value is above it, [r, c], 0 where there is no candidate.
    """
    there = candidates.items > 0
    share = exponential(candidates.log_probs.sum(-1)) * there
    mean = (share * values).sum(1) / (share.sum(1) + exponential(candidates.stop))
    return mean, (values - mean[:, None]) * there


def shares(to_go: torch.Tensor, acts: torch.Tensor, prospects: Prospects) -> torch.Tensor:
    """The share [b, 1, t+1] of h that leaves least of the reward-to-go `to_go`, at each position by least
    squares over the other prompts' rollouts that act there, so that it does not depend on a prompt's own.

    Between 0 and 1; 1 where the others say nothing.
    """
    rest = against_others(to_go - prospects.mean, acts)
    return slope_of_others(rest, prospects.own_gain * acts, otherwise=1.0).clamp(0, 1)


@torch.no_grad()
def candidate_rewards(
    simulator: BranchingSimulator,
    prompts: Prompts,
    rated: RatedPaths,
    prefixes: list[Prefixes],
    candidates: list[Candidates],
    names: list[str],
) -> Iterator[StepRewards]:
    """For the prefixes of each length t, step rewards `names` [r, c, t+1] of the paths that each prefix and
    one of its candidates make; the candidate's are the last.

    From rollouts as they are `rated`. The simulator reads each prefix once, and goes on
    from it to all candidates.
    """
    model = simulator.model
    with torch.autocast(rated.items.device.type, enabled=False):  # as `Simulator.score`
        states, memory = model.extend(prompts.history)
        state = states[:, -1]
        for t, (level, own) in enumerate(zip(prefixes, candidates, strict=True)):
            following = prefixes[t + 1] if t + 1 < len(prefixes) else None
            asked, place = _asked(own.items, following)
            after, branches = model.branch(asked, memory)
            reached = after[:, : own.items.shape[1]]
            target = prompts.target[level.prompt]
            yield step_rewards(
                _continued(simulator, level, t, own.items, rated, state, reached, target), names
            )
            if following is not None:
                state = after[following.parent, place]
                memory = model.follow(memory, branches, following.parent, place)


def _asked(candidates: torch.Tensor, following: Prefixes | None) -> tuple[torch.Tensor, torch.Tensor]:
    """`candidates` [r, c] and behind them the items that prefixes go on with, [r, c + w], 0 where there are
    fewer; and the place of each of the `following` prefixes' items among those of its parent.
    """
    if following is None:
        return candidates, candidates.new_zeros(0)
    n_children = torch.bincount(following.parent, minlength=len(candidates))
    place = within_groups(n_children)
    children = candidates.new_zeros(len(candidates), int(n_children.max()))
    children[following.parent, place] = following.item
    return torch.cat([candidates, children], dim=1), candidates.shape[1] + place


def _continued(
    simulator: BranchingSimulator,
    level: Prefixes,
    t: int,
    candidates: torch.Tensor,
    rated: RatedPaths,
    state: torch.Tensor,
    after: torch.Tensor,
    target: torch.Tensor,
) -> RatedPaths:
    """The paths [r, c, t+1] of each prefix and one of its `candidates` [r, c], from the simulator's `state`
    [r, d] before the candidates and those `after` them [r, c, d].
    """
    c = candidates.shape[1]

    def of_prefixes(values: torch.Tensor, n: int) -> torch.Tensor:
        return values.flatten(0, 1)[level.rollout, :n][:, None].expand(-1, c, -1)

    log_prob, rank = simulator.target_scores(after.flatten(0, 1), target.repeat_interleave(c))
    accepted = (state[:, None] * simulator.vectors[candidates]).sum(-1).sigmoid() * (candidates > 0)
    paths = torch.cat([of_prefixes(rated.items, t), candidates[..., None]], dim=2)
    continued = Scores(
        torch.cat([of_prefixes(rated.scores.log_prob, t + 1), log_prob.view(-1, c, 1)], dim=2),
        torch.cat([of_prefixes(rated.scores.rank, t + 1), rank.view(-1, c, 1)], dim=2),
        torch.cat([of_prefixes(rated.scores.acceptance, t), accepted[..., None]], dim=2),
    )
    return RatedPaths(paths, target, continued, rated.attribute_words)
