"""Beam search as Transformers has it with `early_stopping`, by which the released code finds its `_max@K`.

K paths are under way all the time: one that stops leaves its place to the next best. It counts if it was
among the K best when it stopped, its score then being the mean log-probability of its tokens. A prompt is
done with its first K such paths, though likelier ones may be under way. In `prorl.policy.beam` a finished
path keeps its place instead, and the score is the sum.

Shape key: `b` prompts, `k` beams, `r` rows, `t` path position, `c` choices.
"""

from dataclasses import dataclass

import torch

from prorl.policy.actions import masked_log_softmax
from prorl.policy.catalogue import NO_TOKEN, Catalogue, Paths
from prorl.policy.unfinished import Unfinished
from prorl.t5.folds import Folds
from prorl.t5.incremental import IncrementalDecoder
from prorl.t5.model import T5


@dataclass(frozen=True)
class _Beams:
    """Paths by their `score` [b, k], -inf where there is none: items, tokens and log_prob [b, k, ..] as in
    `Paths`.
    """

    score: torch.Tensor
    items: torch.Tensor
    tokens: torch.Tensor
    log_prob: torch.Tensor

    def best(self, k: int, score: torch.Tensor) -> "tuple[_Beams, torch.Tensor]":
        """The `k` of the highest `score` [b, ..], the best first, and their columns [b, k]."""
        top, column = score.topk(k)
        rows = torch.arange(len(score), device=score.device)[:, None]
        parts = (part[rows, column] for part in (self.items, self.tokens, self.log_prob))
        return _Beams(top, *parts), column

    def joined(self, other: "_Beams") -> "_Beams":
        """Both side by side."""
        return _Beams(
            *(
                torch.cat([getattr(self, name), getattr(other, name)], dim=1)
                for name in self.__dataclass_fields__
            )
        )


@torch.no_grad()
def live_beams(
    policy: T5,
    catalogue: Catalogue,
    history: torch.Tensor,
    target: torch.Tensor,
    n_beams: int,
    folds: Folds | None = None,
) -> Paths:
    """`n_beams` different paths per prompt, the highest mean log-probability of a token first.

    Where the rules allow fewer, the best fills the places left. `folds` are the policy's own, where they are
    kept.
    """
    b, k, n_levels, device = len(history), n_beams, catalogue.n_levels, history.device
    length, n_tokens = catalogue.decoding.max_length, catalogue.n_tokens
    asked = catalogue.asked(history, target)
    decoder = IncrementalDecoder((folds or Folds(policy)).folded(), asked.tokens, k, n_tokens)
    level_ids = [catalogue.choice_ids(level, device) for level in range(n_levels)]
    states = Unfinished.at_start(asked, k)
    dtype = policy.shared.weight.dtype
    finished = _Beams(
        torch.full((b, k), -torch.inf, dtype=dtype, device=device),
        torch.zeros(b, k, length, dtype=torch.int64, device=device),
        torch.full((b, k, n_tokens), NO_TOKEN, device=device),
        torch.zeros(b, k, length + 1, dtype=dtype, device=device),
    )
    score = finished.score.clone()  # at first all beams of a prompt are one
    score[:, 0] = 0
    live = _Beams(score, finished.items, finished.tokens, finished.log_prob)
    prompt = torch.arange(b, device=device)[:, None]
    for position in range(n_tokens):
        t, level = divmod(position, n_levels)
        logits = policy.logits(decoder.step(states.unread.clamp(min=0)), level_ids[level])
        log_probs = masked_log_softmax(
            logits, states.allowed(catalogue, t, level) if catalogue.decoding.constrained else None
        ).view(b, k, -1)
        log_probs = log_probs.masked_fill(live.score.isneginf()[..., None], -torch.inf)
        # Twice as many as there are beams: at most one of each beam stops.
        score, best = (live.score[..., None] + log_probs).flatten(1).topk(2 * k)
        beam, choice = best // log_probs.shape[2], best % log_probs.shape[2]
        token = level_ids[level][choice]
        reached = states[(prompt * k + beam).flatten()].read().after(catalogue, level, token.flatten())
        items, tokens, log_prob = (part[prompt, beam] for part in (live.items, live.tokens, live.log_prob))
        stops = token == catalogue.vocabulary.eos
        if level == n_levels - 1:
            items[..., t] = reached.item.view(b, -1).masked_fill(stops, 0)
        tokens[..., position] = token
        log_prob[..., t] += log_probs[prompt, beam, choice]
        candidates = _Beams(score, items, tokens, log_prob)
        ends = stops | (position == n_tokens - 1)
        counts = ends & (torch.arange(2 * k, device=device) < k)
        counts &= finished.score.isneginf().any(1, keepdim=True)  # those of a prompt that is done do not
        worth = (score / (position + 1)).masked_fill(~counts, -torch.inf)
        finished, _ = finished.joined(candidates).best(k, torch.cat([finished.score, worth], dim=1))
        if not finished.score.isneginf().any():
            break
        live, column = candidates.best(k, score.masked_fill(ends, -torch.inf))
        decoder.select((prompt * k + beam.gather(1, column)).flatten())
        states = reached[(prompt * 2 * k + column).flatten()]
    exists = ~finished.score.isneginf()
    rows = prompt, torch.where(exists, torch.arange(k, device=device), 0)
    items, tokens, log_prob = (part[rows] for part in (finished.items, finished.tokens, finished.log_prob))
    return Paths(items, (items != 0).sum(-1), tokens, log_prob)
