"""Prompts and paths as token ids, and the rules a path must keep.

Shape key: `b` prompts, `m` paths per prompt, `h` history, `t` path position, `k` token within an item, `s` encoder tokens.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from prorl.config import Decoding
from prorl.semantic_ids.trie import Trie, named_once
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import DataError

NO_TOKEN = -1  # behind the end of a path: every id from 0 on may be emitted


@dataclass(frozen=True)
class Paths:
    """Decoded paths.

    items [b, m, t]: -1 for a group of tokens that is no item (unconstrained decoding only), 0 behind the end; length [b, m], such groups
    counted; tokens [b, m, t * k]: ids as emitted, EOS and a partial group before it included, -1 behind them; log_prob [b, m, t+1] of
    each action (a group, or the stop with the partial group before it), 0 where none is made.
    """

    items: torch.Tensor
    length: torch.Tensor
    tokens: torch.Tensor
    log_prob: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> "Paths":
        return Paths(self.items[rows], self.length[rows], self.tokens[rows], self.log_prob[rows])


@dataclass(frozen=True)
class Catalogue:
    """All items as codes, and the rules of decoding: what the policy may write."""

    vocabulary: Vocabulary
    trie: Trie
    decoding: Decoding
    target_tokens: Literal["shared", "separate"]

    @property
    def n_levels(self) -> int:
        """Tokens per item."""
        return self.vocabulary.n_levels

    @property
    def n_tokens(self) -> int:
        """Tokens of the longest path."""
        return self.decoding.max_length * self.n_levels

    def to(self, device: torch.device) -> "Catalogue":
        """The same on `device`."""
        return Catalogue(self.vocabulary, self.trie.to(device), self.decoding, self.target_tokens)

    def item_tokens(self, items: torch.Tensor) -> torch.Tensor:
        """Token ids [.., k] of `items` [..]; padding throughout for item 0."""
        levels = 1 + self.vocabulary.codebook_size * torch.arange(self.n_levels, device=items.device)
        return (self.trie.item_codes[items] + levels) * (items != 0)[..., None]

    def prompt_tokens(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Encoder input [b, s]: history [b, h], target [b], EOS."""
        target_tokens = self.item_tokens(target)
        if self.target_tokens == "separate":
            target_tokens = target_tokens + self.vocabulary.eos
        end = torch.full_like(target_tokens[:, :1], self.vocabulary.eos)
        return torch.cat([self.item_tokens(history).flatten(1), target_tokens, end], dim=1)

    def forbidden_at_start(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Items [b, f] that no path of a prompt may hold, each at most once per row, else 0.

        Raises `DataError` where the catalogue is so small that a path may come to have nothing to go on with.
        """
        parts = [torch.zeros_like(target)[:, None]]  # so that there is a column where nothing is forbidden
        if "history" in self.decoding.forbid:
            parts.append(history)
        if "target" in self.decoding.forbid:
            parts.append(target[:, None])
        forbidden = torch.cat(parts, dim=1)
        needed = forbidden.shape[1] - 1 + self.decoding.max_length
        if self.trie.n_items < needed:
            raise DataError(f"{self.trie.n_items} items: with those forbidden, a path may find none to go on with; {needed} are enough")
        return named_once(forbidden)

    def choice_ids(self, level: int, device: torch.device) -> torch.Tensor:
        """Vocabulary ids of the choices at `level`: its codes, and behind them EOS at an item's first level.

        Unconstrained, at every level: all ids that a decoder may emit, which are those pre-training takes its softmax over.
        """
        if not self.decoding.constrained:
            return torch.arange(self.vocabulary.size, device=device)
        first = 1 + self.vocabulary.codebook_size * level
        ids = torch.arange(first, first + self.vocabulary.codebook_size, device=device)
        return torch.cat([ids, ids.new_tensor([self.vocabulary.eos])]) if level == 0 else ids

    def allowed(self, node: torch.Tensor, level: int, forbidden: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Which choices [r, c], as `choice_ids`, a path has at `node` [r] of `level` and path position [r], given `forbidden` [r, f]."""
        codes = self.trie.allowed_codes(node, level, forbidden)
        return torch.cat([codes, (position >= self.decoding.min_length)[:, None]], dim=1) if level == 0 else codes

    def next_node(self, node: torch.Tensor, level: int, token: torch.Tensor) -> torch.Tensor:
        """The trie's nodes behind `node` [..] and the ids `token` [..] at `level`; `DEAD` behind an id that is no code of that level."""
        code = token - 1 - self.vocabulary.codebook_size * level
        is_code = (code >= 0) & (code < self.vocabulary.codebook_size)
        return self.trie.next_node[node, code * is_code] * is_code


@dataclass(frozen=True)
class LevelActions:
    """The tokens of one level that paths chose among two or more, `r` of them; unconstrained, those of all levels.

    ids [c]: the vocabulary's ids of that level's choices; source [r]: index of the decoder state that chose, in flat [b * m * s];
    action [r]: index of the action it belongs to, in flat [b * m * (t + 1)]; allowed [r, c]: the choices it had, None for all;
    chosen [r]: the one it took.
    """

    ids: torch.Tensor
    source: torch.Tensor
    action: torch.Tensor
    allowed: torch.Tensor | None
    chosen: torch.Tensor


@dataclass(frozen=True)
class Actions:
    """Paths as the choices that make them: decoder input [b, m, s], read up to `n_read` [b, m], and, level by level, what was chosen
    among what.

    An action at position t is an item or non-item (all its tokens) or the stop (EOS, and the partial group before it). A path of the
    longest length makes no stop. `n_tokens` [b * m * (t + 1)] are the tokens of each action, those without an alternative too; 0 where
    none is made.
    """

    decoder_tokens: torch.Tensor
    n_read: torch.Tensor
    levels: tuple[LevelActions, ...]
    n_tokens: torch.Tensor

    @classmethod
    def of_paths(cls, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, paths: Paths) -> "Actions":
        """The actions of `paths`, decoded for `history` [b, h] and `target` [b] under the rules of `catalogue`."""
        if catalogue.decoding.constrained:
            return cls._of_items(catalogue, history, target, paths.items)
        return cls._of_tokens(catalogue, paths.tokens)

    @classmethod
    def _of_tokens(cls, catalogue: Catalogue, tokens: torch.Tensor) -> "Actions":
        """Every token chosen among all ids that a decoder may emit."""
        b, m, n_tokens = tokens.shape
        emitted = tokens != NO_TOKEN
        n_read = emitted.sum(-1)
        n_states = int(n_read.max())
        decoder_tokens = torch.cat([tokens.new_zeros(b, m, 1), tokens[..., : n_states - 1].clamp(min=0)], dim=2)
        prompt, rollout, place = emitted.nonzero(as_tuple=True)
        row, n_positions = prompt * m + rollout, n_tokens // catalogue.n_levels + 1
        action = row * n_positions + place // catalogue.n_levels
        every = LevelActions(
            ids=catalogue.choice_ids(0, tokens.device),
            source=row * n_states + place,
            action=action,
            allowed=None,
            chosen=tokens[prompt, rollout, place],
        )
        return cls(decoder_tokens, n_read, (every,), torch.bincount(action, minlength=b * m * n_positions))

    @classmethod
    def _of_items(cls, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, items: torch.Tensor) -> "Actions":
        """Level by level, every code chosen among those that lead to an item the path may hold."""
        b, m, t_max = items.shape
        device, n_levels, trie = items.device, catalogue.n_levels, catalogue.trie
        length = (items != 0).sum(-1)
        tokens = catalogue.item_tokens(items[..., : int(length.max())]).flatten(2)
        decoder_tokens = torch.cat([tokens.new_zeros(b, m, 1), tokens], dim=2)
        n_states = decoder_tokens.shape[2]
        n_read = (length * n_levels + 1).clamp(max=t_max * n_levels)  # a path of the longest length makes no stop
        start = catalogue.forbidden_at_start(history, target)
        # Where an item begins or the path stops: every t up to the length, but not beyond the longest path.
        acts = torch.arange(t_max, device=device) <= length[..., None]
        prompt, rollout, position = acts.nonzero(as_tuple=True)
        row = prompt * m + rollout
        item = items[prompt, rollout, position]
        forbidden = start[prompt]
        if "repeats" in catalogue.decoding.forbid:
            earlier = torch.arange(t_max, device=device) < position[:, None]
            forbidden = torch.cat([forbidden, items[prompt, rollout] * earlier], dim=1)
        n_tokens = torch.zeros(b * m * (t_max + 1), dtype=torch.int64, device=device)
        n_tokens[row * (t_max + 1) + position] = torch.where(item != 0, n_levels, 1)
        levels = []
        for level in range(n_levels):
            if level == 1:  # a stop has one token
                go_on = item != 0
                row, position, item, forbidden = row[go_on], position[go_on], item[go_on], forbidden[go_on]
            node = torch.where(item != 0, trie.item_parents[item, level], 1)
            chosen = trie.item_codes[item, level]
            if level == 0:
                chosen = torch.where(item != 0, chosen, catalogue.vocabulary.codebook_size)
            allowed = catalogue.allowed(node, level, forbidden, position)
            several = (allowed.sum(1) > 1).nonzero()[:, 0]
            levels.append(
                LevelActions(
                    ids=catalogue.choice_ids(level, device),
                    source=(row * n_states + position * n_levels + level)[several],
                    action=(row * (t_max + 1) + position)[several],
                    allowed=allowed[several],
                    chosen=chosen[several],
                )
            )
        return cls(decoder_tokens, n_read, tuple(levels), n_tokens)


def masked_log_softmax(logits: torch.Tensor, allowed: torch.Tensor | None) -> torch.Tensor:
    """Log-probabilities over the allowed choices, all of them where `allowed` is None; -inf elsewhere."""
    return (logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)).log_softmax(-1)
