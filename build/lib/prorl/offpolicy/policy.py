"""The probability with which a policy writes the items of a log.

An item's probability is the product over its tokens, each normalised over what the rules of decoding allow
there, at a temperature, given history, target and the items before it. It is computed in one pass over a
path, as in training, and in the precision of the weights.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `n` requests, `s` rows (shown items).
"""

from dataclasses import dataclass

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.offpolicy.log import Log
from prorl.policy.actions import Actions, masked_log_softmax
from prorl.policy.catalogue import Catalogue, Paths
from prorl.policy.guide import PolicyGuide

BATCH = 256  # requests at a time


@torch.no_grad()
def action_log_probs(
    guide: PolicyGuide, history: torch.Tensor, target: torch.Tensor, items: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Log-probabilities [b, t + 1] of the items of a path [b, t] (0 behind its end) for each prompt, and of
    the stop behind it; 0 behind that, and for the stop of a longest path, which makes none.

    The first item that the guide's rules forbid, or that is behind the longest path, has -inf, and so has all
    that follows it; t is the guide's longest length or less. Raises `ConfigError` for unconstrained decoding,
    of which items do not tell the tokens, and for a temperature that is not above 0.
    """
    catalogue = guide.catalogue
    if not catalogue.decoding.constrained:
        raise ConfigError("decoding.constrained: got false, allowed: true, for probabilities of items")
    if not temperature > 0:
        raise ConfigError(f"temperature: got {temperature}, allowed: above 0")
    b, t = items.shape
    possible = ~_forbidden(catalogue, history, target, items).cumsum(1).bool()
    paths = torch.zeros(b, 1, catalogue.decoding.max_length, dtype=torch.int64, device=items.device)
    paths[:, 0, :t] = items * possible
    length = (paths != 0).sum(-1)
    actions = Actions.of_paths(
        catalogue, history, target, Paths(paths, length, paths.new_zeros(0), paths.new_zeros(0))
    )
    states = guide.policy(
        catalogue.prompt_tokens(history, target), actions.decoder_tokens, actions.n_read
    ).flatten(0, 2)
    log_prob = torch.zeros(len(actions.n_tokens), dtype=states.dtype, device=states.device)
    for taken in actions.levels:
        logits = guide.policy.logits(states[taken.source], taken.ids) / temperature
        chosen = masked_log_softmax(logits, taken.allowed).gather(1, taken.chosen[:, None])[:, 0]
        log_prob.index_add_(0, taken.action, chosen.to(log_prob.dtype))
    log_prob = log_prob.view(b, -1)[:, : t + 1]
    cut = torch.cat([~possible, ~possible[:, -1:]], dim=1)
    return log_prob.masked_fill(cut, -torch.inf)


def _forbidden(
    catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """Which items [b, t] of paths the rules forbid, given those before them."""
    rules = catalogue.decoding.forbid
    same = items[:, :, None] == items[:, None, :]
    forbidden = torch.zeros_like(items, dtype=torch.bool)
    if "repeats" in rules:
        forbidden |= same.tril(-1).any(2)
    if "history" in rules:
        forbidden |= (items[:, :, None] == history[:, None, :]).any(2)
    if "target" in rules:
        forbidden |= items == target[:, None]
    return forbidden & (items != 0)


def sampled_propensities(paths: Paths) -> np.ndarray:
    """The propensities [b, m, t] that the log takes for the items of sampled `paths`; 0 behind their end.

    They are those that the sampler drew with, in its own precision.
    """
    probabilities = paths.log_prob[..., :-1].double().exp().clamp(max=1)
    return (probabilities * (paths.items != 0)).cpu().numpy()


@dataclass(frozen=True)
class PolicyTarget:
    """A policy at a temperature, as `estimate` takes its target policy; `rules` are those that it keeps."""

    guide: PolicyGuide
    temperature: float = 1.0

    @property
    def rules(self) -> Decoding:
        """The rules that the guide decodes by."""
        return self.guide.catalogue.decoding

    def __call__(self, log: Log) -> np.ndarray:
        """The probability [s] of every item of the log; 0 from the first item of a path on that the rules
        forbid. Raises `DataError` for an item that the guide does not know, and as `action_log_probs` does.
        """
        for name, items in (("history", log.history), ("target", log.target), ("item", log.item)):
            if items.max(initial=0) > self.guide.n_items:
                raise DataError(
                    f"log: {name}: got item {items.max()}, allowed: 1 to {self.guide.n_items}, the items of "
                    "the target policy"
                )
        device = self.guide.policy.shared.weight.device
        history, target, paths = (
            torch.from_numpy(part).to(device) for part in (log.history, log.target, log.paths)
        )
        longest = self.rules.max_length
        found = np.zeros(paths.shape)
        for rows in torch.arange(len(log), device=device).split(BATCH):
            items = paths[rows, :longest]
            log_prob = action_log_probs(self.guide, history[rows], target[rows], items, self.temperature)
            found[rows.cpu().numpy(), : items.shape[1]] = log_prob[:, :-1].double().exp().cpu().numpy()
        return found[log.request, log.position]
