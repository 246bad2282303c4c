"""Decoding paths: rollouts (sampled) and greedy paths.

Constrained decoding keeps the rules of `Catalogue`: a path is made of items, and stops between two.
Unconstrained decoding is plain sampling over all ids that a decoder may emit, padding and the reserved id
among them, as Transformers' `generate` does it: EOS ends a path wherever it stands, and what has been written
is read in groups of one item's tokens. A group that is no item is a non-item; a partial group before EOS is
dropped.

The encoder runs once per prompt for its m paths, and the decoder reads each token once. Finished paths leave
the batch. Where an item's first codes leave one item alone, its other codes are no choice: the decoder reads
them with the next token that is one. A greedy path by itself is decoded by `prorl.policy.single`.

Every uniform number is a hash of seed, step, prompt, rollout and position, so that a rollout does not depend
on the batch or the process it is drawn in.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `k` token within an item, `r` rows, `c`
choices.
"""

from dataclasses import dataclass

import torch

from prorl.policy.catalogue import NO_TOKEN, Asked, Catalogue, Paths
from prorl.policy.single import greedy_path, is_single
from prorl.policy.unfinished import Unfinished
from prorl.t5.folded import FoldedT5
from prorl.t5.folds import Folds
from prorl.t5.incremental import IncrementalDecoder
from prorl.t5.kernels import exponential
from prorl.t5.model import T5

# where more than this share of the paths has a choice, the decoder goes on with all; else it peeks for those
ALL_AT_ONCE = 0.5


@torch.no_grad()
def rollouts(
    policy: T5,
    catalogue: Catalogue,
    history: torch.Tensor,
    target: torch.Tensor,
    uniforms: torch.Tensor,
    temperature: float = 1.0,
    folds: Folds | None = None,
) -> Paths:
    """Sample m paths per prompt by inverse transform of `uniforms` [b, m, t * k] in [0, 1).

    log_prob is that of the policy at `temperature`. `folds` are the policy's own, where they are kept.
    """
    return sampled(folds or Folds(policy), catalogue, catalogue.asked(history, target), uniforms, temperature)


@torch.no_grad()
def greedy(
    policy: T5,
    catalogue: Catalogue,
    history: torch.Tensor,
    target: torch.Tensor,
    folds: Folds | None = None,
) -> Paths:
    """The path of the likeliest token at every step, m = 1; `folds` as for `rollouts`.

    On a CPU a prompt by itself is decoded in the precision of the weights, whatever the autocast.
    """
    return likeliest(folds or Folds(policy), catalogue, catalogue.asked(history, target))


@torch.no_grad()
def sampled(
    folds: Folds, catalogue: Catalogue, asked: Asked, uniforms: torch.Tensor, temperature: float = 1.0
) -> Paths:
    """`rollouts` of what is `asked` [b], which may differ from prompt to prompt."""
    return _decode(folds.folded(), catalogue, asked, uniforms.shape[1], uniforms, temperature)


@torch.no_grad()
def likeliest(folds: Folds, catalogue: Catalogue, asked: Asked) -> Paths:
    """`greedy` of what is `asked` [b], which may differ from prompt to prompt."""
    if is_single(catalogue, asked):
        return greedy_path(folds.single(catalogue.n_tokens), catalogue, asked)
    return _decode(folds.folded(), catalogue, asked, 1, None, 1.0)


def _decode(
    folded: FoldedT5,
    catalogue: Catalogue,
    asked: Asked,
    m: int,
    uniforms: torch.Tensor | None,
    temperature: float,
) -> Paths:
    policy, b, n_levels = folded.policy, len(asked), catalogue.n_levels
    device, rules = asked.tokens.device, catalogue.decoding
    earliest_stop, longest = int(asked.shortest.min()), set(asked.longest.tolist())
    paths = Paths(
        items=torch.zeros(b, m, rules.max_length, dtype=torch.int64, device=device),
        length=torch.zeros(b, m, dtype=torch.int64, device=device),
        tokens=torch.full((b, m, catalogue.n_tokens), NO_TOKEN, device=device),
        log_prob=torch.zeros(b, m, rules.max_length + 1, dtype=policy.shared.weight.dtype, device=device),
    )
    decoder = IncrementalDecoder(folded, asked.tokens, m, catalogue.n_tokens)
    running = Unfinished.at_start(asked, m)
    sampler = _Sampler(policy, catalogue, uniforms, temperature)
    for position in range(max(longest) * n_levels):
        t, level = divmod(position, n_levels)
        if level == 0 and t in longest:  # some are as long as they may be
            shorter = asked.longest[running.prompt] > t
            if not shorter.any():
                break
            running = running[decoder.keep(shorter)]
        token = running.only_token(catalogue, level)
        log_prob = paths.log_prob.new_zeros(len(token))
        undecided = (token == 0).nonzero()[:, 0]
        if len(undecided) > ALL_AT_ONCE * len(token):
            states, running = decoder.step(running.unread), running.read()
            token, log_prob = sampler.next_tokens(states, running, position)
        elif len(undecided):
            part = running[undecided]
            token[undecided], log_prob[undecided] = sampler.next_tokens(
                decoder.peek(part.unread, undecided), part, position
            )
        paths.tokens[running.prompt, running.rollout, position] = token
        paths.log_prob[running.prompt, running.rollout, t] += log_prob
        if not rules.constrained or (level == 0 and t >= earliest_stop):
            goes_on = token != catalogue.vocabulary.eos
            if not goes_on.any():
                break
            if not goes_on.all():
                rows = decoder.keep(goes_on)
                running, token = running[rows], token[rows]
        running = running.after(catalogue, level, token)
        if level == n_levels - 1:
            paths.items[running.prompt, running.rollout, t] = running.item
    paths.length.copy_((paths.items != 0).sum(-1))
    return paths


@dataclass(frozen=True)
class _Sampler:
    """Takes the next token of each path: drawn with `uniforms` [b, m, t * k], or the likeliest where that is
    None.
    """

    policy: T5
    catalogue: Catalogue
    uniforms: torch.Tensor | None
    temperature: float

    def next_tokens(
        self, states: torch.Tensor, part: Unfinished, position: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token [r] and its log-probability [r] at `position` of the paths `part`, from decoder states [r,
        d].
        """
        t, level = divmod(position, self.catalogue.n_levels)
        ids = self.catalogue.choice_ids(level, states.device)
        logits = self.policy.logits(states, ids).div_(self.temperature)
        if self.catalogue.decoding.constrained:
            logits.masked_fill_(~part.allowed(self.catalogue, t, level), -torch.inf)
        choice, log_prob = choose(
            logits, None if self.uniforms is None else self.uniforms[part.prompt, part.rollout, position]
        )
        return ids[choice], log_prob


def choose(logits: torch.Tensor, uniform: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The choice [r] among `logits` [r, c] and its log-probability [r]: drawn with `uniform` [r], or the
    likeliest where that is None.
    """
    top, likeliest = logits.max(-1)
    weights = exponential(logits - top[:, None])
    if uniform is None:
        return likeliest, -weights.sum(-1).log()
    cumulated = weights.cumsum(-1, dtype=torch.float64)
    choice = inverse_transform(cumulated, uniform)
    return choice, logits.gather(1, choice[:, None])[:, 0] - top - cumulated[:, -1].log().to(logits.dtype)


def inverse_transform(cumulated: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The choice [r] at which cumulated weights [r, c] first exceed the share `uniform` [r] in [0, 1) of
    their sum.

    A choice of weight 0 adds nothing and is never the first.
    """
    return torch.searchsorted(cumulated, (uniform * cumulated[:, -1])[:, None], right=True)[:, 0]


def keyed_uniforms(seed: int, prompt: torch.Tensor, m: int, n_positions: int) -> torch.Tensor:
    """Uniform numbers [b, m, p] in [0, 1), each a hash of seed, prompt number [b], rollout and position
    (SplitMix64, Steele et al. 2014).

    23 random bits, so that a product with a sum near 1 stays below it in float32.
    """
    device = prompt.device
    rollout = torch.arange(m, device=device)[:, None]
    position = torch.arange(n_positions, device=device)
    x = _mix(_mix(prompt.long() + seed * 0x9E3779B9)[:, None, None] + (rollout * n_positions + position))
    return ((x >> 41) & 0x7FFFFF).float() * 2.0**-23


def _mix(x: torch.Tensor) -> torch.Tensor:
    """SplitMix64's output function on int64, whose products wrap around."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
