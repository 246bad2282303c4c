"""Beam search for the likeliest paths, under the rules of decoding.

The score of a path is the sum of its tokens' log-probabilities, its stop included, without a correction for
length. A finished path keeps its place among the K as long as its score is among the K best.

Shape key: `b` prompts, `k` beams, `r` = b * k rows, `t` path position, `c` choices.
"""

import torch

from prorl.policy.actions import masked_log_softmax
from prorl.policy.catalogue import NO_TOKEN, Catalogue, Paths
from prorl.policy.unfinished import Unfinished
from prorl.t5.folds import Folds
from prorl.t5.incremental import IncrementalDecoder
from prorl.t5.model import T5


@torch.no_grad()
def beams(
    policy: T5,
    catalogue: Catalogue,
    history: torch.Tensor,
    target: torch.Tensor,
    n_beams: int,
    folds: Folds | None = None,
) -> Paths:
    """`n_beams` different paths per prompt, the likeliest first.

    Where the rules allow fewer, the likeliest fills the places left. `folds` are the policy's own, where they
    are kept.
    """
    b, n_levels, device, rules = len(history), catalogue.n_levels, history.device, catalogue.decoding
    asked = catalogue.asked(history, target)
    decoder = IncrementalDecoder((folds or Folds(policy)).folded(), asked.tokens, n_beams, catalogue.n_tokens)
    level_ids = [catalogue.choice_ids(level, device) for level in range(n_levels)]
    states = Unfinished.at_start(asked, n_beams)
    ended = torch.zeros(b * n_beams, dtype=torch.bool, device=device)
    items = torch.zeros(b * n_beams, rules.max_length, dtype=torch.int64, device=device)
    tokens = torch.full((b * n_beams, catalogue.n_tokens), NO_TOKEN, device=device)
    log_prob = torch.zeros(b * n_beams, rules.max_length + 1, dtype=policy.shared.weight.dtype, device=device)
    score = log_prob.new_full((b, n_beams), -torch.inf)  # at first all beams of a prompt are one
    score[:, 0] = 0
    for position in range(catalogue.n_tokens):
        t, level = divmod(position, n_levels)
        logits = policy.logits(decoder.step(states.unread.clamp(min=0)), level_ids[level])
        log_probs = masked_log_softmax(
            logits, states.allowed(catalogue, t, level) if rules.constrained else None
        )
        log_probs = _staying_where(ended | score.flatten().isneginf(), log_probs)
        score, best = (score[..., None] + log_probs.view(b, n_beams, -1)).flatten(1).topk(n_beams)
        n_choices = log_probs.shape[1]
        rows = (torch.arange(b, device=device)[:, None] * n_beams + best // n_choices).flatten()
        choice = (best % n_choices).flatten()
        decoder.select(rows)
        states = states[rows]
        ended, items, tokens, log_prob = (x[rows] for x in (ended, items, tokens, log_prob))
        log_prob[:, t] += log_probs[rows, choice]
        token = level_ids[level][choice].masked_fill(ended, NO_TOKEN)
        tokens[:, position] = token
        ended = ended | (token == catalogue.vocabulary.eos)
        if ended.all():
            break
        states = states.read().after(catalogue, level, token)
        if level == n_levels - 1:
            items[:, t] = states.item.masked_fill(ended, 0)
    exists = ~score.isneginf()
    rows = (
        torch.arange(b, device=device)[:, None],
        torch.where(exists, torch.arange(n_beams, device=device), 0),
    )
    items, tokens, log_prob = (x.view(b, n_beams, -1)[rows] for x in (items, tokens, log_prob))
    return Paths(items, (items != 0).sum(-1), tokens, log_prob)


def _staying_where(ended: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """`log_probs` [r, c], with one certain continuation, the first, for paths that have `ended` [r]."""
    stay = torch.full_like(log_probs[:1], -torch.inf)
    stay[:, 0] = 0
    return torch.where(ended[:, None], stay, log_probs)
