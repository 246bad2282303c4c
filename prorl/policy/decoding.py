"""Decoding paths under the rules: rollouts (sampled) and greedy paths.

The encoder runs once per prompt for its m paths; decoder keys and values are cached; finished paths leave the batch; a choice is made
among the codes of its level alone. Every uniform number is a hash of seed, step, prompt, rollout and position, so that a rollout does
not depend on the batch or the process it is drawn in.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `k` token within an item.
"""

from dataclasses import dataclass

import torch

from prorl.policy.model import Cache, CrossMemory, T5Policy
from prorl.policy.prompts import Catalogue, masked_log_softmax
from prorl.semantic_ids.trie import ROOT

COMPACTION = 0.75  # unfinished paths move together when at most this share of the batch is left


@dataclass(frozen=True)
class Paths:
    """Decoded paths.

    items [b, m, t], 0 behind the end; length [b, m]; log_prob [b, m, t+1] of each action (an item, or the stop), 0 where none is made.
    """

    items: torch.Tensor
    length: torch.Tensor
    log_prob: torch.Tensor


@torch.no_grad()
def rollouts(
    policy: T5Policy, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, uniforms: torch.Tensor, temperature: float = 1.0
) -> Paths:
    """Sample m paths per prompt by inverse transform of `uniforms` [b, m, t * k] in [0, 1).

    log_prob is that of the policy at `temperature`.
    """
    return _decode(policy, catalogue, history, target, uniforms.shape[1], uniforms, temperature)


@torch.no_grad()
def greedy(policy: T5Policy, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor) -> Paths:
    """The path of the likeliest token at every step, m = 1."""
    return _decode(policy, catalogue, history, target, 1, None, 1.0)


def _decode(policy, catalogue, history, target, m, uniforms, temperature) -> Paths:
    b, t_max, n_levels = len(history), catalogue.decoding.max_length, catalogue.n_levels
    device, stop = history.device, catalogue.vocabulary.codebook_size
    items = torch.zeros(b, m, t_max, dtype=torch.int64, device=device)
    log_prob = torch.zeros(b, m, t_max + 1, dtype=policy.shared.weight.dtype, device=device)
    batch = _Unfinished(
        memory=policy.encode(catalogue.prompt_tokens(history, target)),
        cache=Cache(policy.sizes.n_layers, t_max * n_levels),
        forbidden=catalogue.forbidden_at_start(history, target)[:, None].expand(b, m, -1),
        prompt=torch.arange(b, device=device),
        rollout=torch.arange(m, device=device).expand(b, m),
        running=torch.ones(b, m, dtype=torch.bool, device=device),
    )
    token = torch.zeros(b, m, 1, dtype=torch.int64, device=device)
    for t in range(t_max):
        node = torch.full(batch.running.shape, ROOT, dtype=torch.int32, device=device)
        for level in range(n_levels):
            ids = catalogue.level_ids(level, device)
            states = policy.decode(token, batch.memory, batch.cache)[:, :, 0]
            position = torch.full((node.numel(),), t, device=device)
            allowed = catalogue.allowed(node.flatten(), level, batch.forbidden.flatten(0, 1), position)
            allowed = allowed | ~batch.running.flatten()[:, None]  # a finished path's choice is not looked at, but must exist
            log_probs = masked_log_softmax(policy.logits(states, ids).flatten(0, 1) / temperature, allowed)
            if uniforms is None:
                choice = log_probs.argmax(-1)
            else:
                choice = inverse_transform(log_probs, uniforms[batch.prompt[:, None], batch.rollout, t * n_levels + level].flatten())
            gained = log_probs.gather(1, choice[:, None]).view(node.shape) * batch.running
            choice = choice.view(node.shape)
            log_prob[batch.prompt[:, None], batch.rollout, t] += gained
            if level == 0:
                batch.running = batch.running & (choice != stop)
                choice = choice.clamp(max=stop - 1)
                if not batch.running.any():
                    return Paths(items, (items != 0).sum(-1), log_prob)
                kept = batch.compact()
                if kept is not None:
                    node, choice = (kept.apply(x) for x in (node, choice))
            node = catalogue.trie.next_node[node, choice]
            token = (1 + catalogue.vocabulary.codebook_size * level + choice)[..., None]
        item = catalogue.trie.leaf_item[node] * batch.running
        items[batch.prompt[:, None], batch.rollout, t] += item
        if "repeats" in catalogue.decoding.forbid:
            batch.forbidden = torch.cat([batch.forbidden, item[..., None]], dim=2)
    return Paths(items, (items != 0).sum(-1), log_prob)


@dataclass
class _Kept:
    """A choice of prompts, and of paths within each."""

    prompts: torch.Tensor
    paths: torch.Tensor

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """[b, m, ..] restricted to what is kept."""
        return x[self.prompts[:, None], self.paths]


@dataclass
class _Unfinished:
    """The part of a batch still being decoded: some prompts, and for each the same number of paths, finished ones filling up."""

    memory: tuple[CrossMemory, ...]
    cache: Cache
    forbidden: torch.Tensor
    prompt: torch.Tensor
    rollout: torch.Tensor
    running: torch.Tensor

    def compact(self) -> _Kept | None:
        """Drop prompts without running paths and finished paths, if that shrinks the batch enough; what was kept, or None."""
        b, m = self.running.shape
        counts = self.running.sum(1)
        prompts = counts.nonzero()[:, 0]
        width = int(counts.max())
        if len(prompts) * width > COMPACTION * b * m:
            return None
        paths = (~self.running[prompts]).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
        kept = _Kept(prompts, paths)
        self.cache.select((prompts[:, None] * m + paths).flatten())
        self.memory = tuple(layer.select(prompts) for layer in self.memory)
        self.forbidden, self.rollout, self.running = (kept.apply(x) for x in (self.forbidden, self.rollout, self.running))
        self.prompt = self.prompt[prompts]
        return kept


def inverse_transform(log_probs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The choice [r] at which the cumulated probabilities of `log_probs` [r, c] first exceed `uniform` [r] in [0, 1)."""
    cumulated = log_probs.double().exp().cumsum(-1)
    # Scaled by the last sum, which rounding may leave beside 1; a choice of probability 0 adds nothing and is never the first.
    return torch.searchsorted(cumulated, (uniform * cumulated[:, -1])[:, None], right=True)[:, 0]


def keyed_uniforms(seed: int, prompt: torch.Tensor, m: int, n_positions: int) -> torch.Tensor:
    """Uniform numbers [b, m, p] in [0, 1), each a hash of seed, prompt number [b], rollout and position (SplitMix64, Steele et al. 2014).

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


@dataclass(frozen=True)
class PolicyGuide:
    """A policy as a guide: greedy paths, and samples at temperature 1."""

    policy: T5Policy
    catalogue: Catalogue

    def paths(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `Guide.paths`."""
        return greedy(self.policy, self.catalogue, history, target).items[:, 0]

    def samples(self, history: torch.Tensor, target: torch.Tensor, prompt: torch.Tensor, n_samples: int, seed: int) -> torch.Tensor:
        """See `SamplingGuide.samples`."""
        uniforms = keyed_uniforms(seed, prompt, n_samples, self.catalogue.n_tokens)
        return rollouts(self.policy, self.catalogue, history, target, uniforms).items
