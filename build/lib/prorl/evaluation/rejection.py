"""A stricter judgement of paths: an item enters the history only if the user accepts it.

The usual metrics take every item of a path as read. Here the user is shown one item after another and accepts
each with the chance that the simulator gives it after the history and what was accepted so far. With
*boredom* (after the simulated users of IPG, arXiv 2403.07571) many accepted items of one attribute make
further items of that attribute less acceptable for a while; only what is accepted of the path counts, since
the history was there before the visit. With *leave* the user may go after several rejections in a row, and
sees no more of the path.

Either chances are drawn, which costs about as much as so many paths, or the exact expectation over all 2^t
ways a visit may go is taken.

Shape key: `p` prompts, `t` path position, `h` history, `a` attributes, `r` visits: ways that the visit of a
prompt's user may go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch

from prorl.config.evaluate import Boredom, Rejection
from prorl.policy.decoding import keyed_uniforms
from prorl.prompts import Prompts
from prorl.simulators.protocol import Simulator

VISITS_PER_HISTORY = 16  # that are kept at once, as a multiple of the histories that are read at once


def rejection_metrics(
    simulators: Mapping[str, Simulator],
    prompts: Prompts,
    items: torch.Tensor,
    attribute_words: np.ndarray,
    settings: Rejection,
    *,
    seed: int,
    batch_size: int,
) -> dict[str, dict[str, np.ndarray]]:
    """{simulator: {metric: [p]}} of one path `items` [p, t] per prompt, each in expectation over what its
    user accepts, float64:

    - `ioi`: log P(target) after the accepted items less that before them; 0 for an empty path
    - `ctr`: accepted items / items of the path; those that a user who left never saw count as not
      accepted; 0 for an empty path
    - `stay`, where users may leave: items that were shown

    attribute_words [n+1, w] are the items' attributes as bits. Non-items (-1) are not shown. Draws are keyed
    by `seed` and the prompt's number, so that paths of different guides meet the same users. Simulators read
    `batch_size` histories at once.
    """
    attributes = _attributes(attribute_words) if settings.boredom else torch.zeros(len(attribute_words), 0)
    attributes = attributes.bool().to(items.device)
    n_ways = settings.draws or 2 ** items.shape[1]
    at_once = max(1, VISITS_PER_HISTORY * batch_size // n_ways)
    found = {}
    for name, simulator in simulators.items():
        parts = [
            _of_batch(simulator, prompts[rows], items[rows], attributes, settings, seed, batch_size)
            for rows in torch.arange(len(items), device=items.device).split(at_once)
        ]
        found[name] = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
    return found


@dataclass(frozen=True)
class _Visits:
    """Ways that visits may have gone so far.

    prompt [r]; draw [r], its number among the prompt's; weight [r], its probability; accepted [r, t], 0
    behind the n_accepted [r]; rejections [r], in a row; bored_until [r, a], the last position with less
    acceptance of an attribute; gain [r], of log P(target).
    """

    prompt: torch.Tensor
    draw: torch.Tensor
    weight: torch.Tensor
    accepted: torch.Tensor
    n_accepted: torch.Tensor
    rejections: torch.Tensor
    bored_until: torch.Tensor
    gain: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def weighed(self, share: torch.Tensor) -> Self:
        """With `share` [r] of their probabilities; those of probability 0 stay as they are."""
        return replace(self, weight=self.weight * share)

    def with_accepted(
        self,
        item: torch.Tensor,
        gain: torch.Tensor,
        at: int,
        attributes: torch.Tensor,
        boredom: Boredom | None,
    ) -> Self:
        """After `item` [r] of position `at` was accepted, which changed log P(target) by `gain` [r]."""
        accepted = self.accepted.clone()
        accepted[torch.arange(len(item), device=item.device), self.n_accepted] = item
        after = replace(
            self,
            accepted=accepted,
            n_accepted=self.n_accepted + 1,
            rejections=torch.zeros_like(self.rejections),
            gain=self.gain + gain,
        )
        if boredom is None:
            return after
        place = after.n_accepted[:, None] - 1 - torch.arange(boredom.window, device=item.device)
        recent = after.accepted.gather(1, place.clamp(min=0)) * (place >= 0)
        is_bored = attributes[recent].sum(1) > boredom.more_than
        return replace(after, bored_until=torch.where(is_bored, at + boredom.steps, self.bored_until))

    @classmethod
    def joined(cls, parts: list["_Visits"]) -> "_Visits":
        """All of `parts`."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _of_batch(
    simulator: Simulator,
    prompts: Prompts,
    items: torch.Tensor,
    attributes: torch.Tensor,
    settings: Rejection,
    seed: int,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """`rejection_metrics` under one simulator."""
    (p, t), device = items.shape, items.device
    n_draws = settings.draws or 1
    drawn = settings.draws is not None
    # Of every position, whether its item is accepted, and whether the user leaves after it.
    uniforms = keyed_uniforms(seed, prompts.number, n_draws, 2 * t)
    visits = _Visits(
        prompt=torch.arange(p, device=device).repeat_interleave(n_draws),
        draw=torch.arange(n_draws, device=device).repeat(p),
        weight=torch.full((p * n_draws,), 1 / n_draws, dtype=torch.float64, device=device),
        accepted=torch.zeros(p * n_draws, t, dtype=torch.int64, device=device),
        n_accepted=torch.zeros(p * n_draws, dtype=torch.int64, device=device),
        rejections=torch.zeros(p * n_draws, dtype=torch.int64, device=device),
        bored_until=torch.full((p * n_draws, attributes.shape[1]), -1, device=device),
        gain=torch.zeros(p * n_draws, dtype=torch.float64, device=device),
    )
    gain, accepted, shown = (torch.zeros(p, dtype=torch.float64, device=device) for _ in range(3))
    for at in range(t):
        is_shown = items[visits.prompt, at] > 0
        unchanged, visits = visits[~is_shown], visits[is_shown]
        item = items[visits.prompt, at]
        chance, change = _asked(simulator, prompts, visits, item, batch_size)
        if settings.boredom is not None:
            is_bored = ((visits.bored_until >= at) & attributes[item]).any(1)
            chance = torch.where(is_bored, chance * settings.boredom.decay, chance)
        shown.index_add_(0, visits.prompt, visits.weight)
        accepted.index_add_(0, visits.prompt, visits.weight * chance)
        if drawn:
            accepts = uniforms[visits.prompt, visits.draw, at] < chance
            taking, rejecting = visits[accepts], visits[~accepts]
        else:
            accepts = chance > 0
            taking, rejecting = visits.weighed(chance)[accepts], visits.weighed(1 - chance)[chance < 1]
        taking = taking.with_accepted(item[accepts], change[accepts], at, attributes, settings.boredom)
        rejecting = replace(rejecting, rejections=rejecting.rejections + 1)
        if settings.leave is not None:
            share = settings.leave.probability * (rejecting.rejections >= settings.leave.rejections).double()
            if drawn:
                share = (uniforms[rejecting.prompt, rejecting.draw, t + at] < share).double()
            gain.index_add_(0, rejecting.prompt, rejecting.weight * share * rejecting.gain)
            rejecting = rejecting.weighed(1 - share)[share < 1]
        visits = _Visits.joined([unchanged, taking, rejecting])
    gain.index_add_(0, visits.prompt, visits.weight * visits.gain)
    metrics = {"ioi": gain, "ctr": accepted / (items > 0).sum(1).clamp(min=1)}
    if settings.leave is not None:
        metrics["stay"] = shown
    return {name: values.cpu().numpy() for name, values in metrics.items()}


def _asked(
    simulator: Simulator, prompts: Prompts, visits: _Visits, item: torch.Tensor, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The chance [r] that `item` [r] is accepted after the history and what was accepted so far, and how
    log P(target) then changes, [r], float64.

    What was accepted stands in the history, so that a simulator reads it once. The plain form asks for every
    visit. Here visits of a prompt that went alike so far are asked for once, and those of like length
    together.
    """
    asked = torch.cat([visits.prompt[:, None], visits.n_accepted[:, None], item[:, None], visits.accepted], 1)
    asked, place = asked.unique(dim=0, return_inverse=True)
    prompt, n_accepted, shown, accepted = asked[:, 0], asked[:, 1], asked[:, 2], asked[:, 3:]
    chance, change = (torch.zeros(len(asked), dtype=torch.float64, device=item.device) for _ in range(2))
    for length in n_accepted.unique().tolist():
        for rows in (n_accepted == length).nonzero()[:, 0].split(batch_size):
            read = torch.cat([prompts.history[prompt[rows]], accepted[rows, :length]], dim=1)
            scores = simulator.score(read, shown[rows, None, None], prompts.target[prompt[rows]], ends=True)
            chance[rows] = scores.acceptance[:, 0, 0].double()
            change[rows] = scores.log_prob[:, 0, 1].double() - scores.log_prob[:, 0, 0].double()
    return chance[place], change[place]


def _attributes(attribute_words: np.ndarray) -> torch.Tensor:
    """Which of the attributes [n+1, a] that there are an item has, from bits [n+1, w]."""
    bits = np.unpackbits(np.ascontiguousarray(attribute_words).view(np.uint8), axis=1)
    return torch.from_numpy(bits[:, bits.any(0)])
