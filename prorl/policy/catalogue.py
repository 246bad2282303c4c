"""The catalogue: items as token ids, the rules a path must keep, and decoded paths.

Shape key: `b` prompts, `m` paths per prompt, `h` history, `t` path position, `k` token within an item, `s`
encoder tokens, `f` forbidden items.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.semantic_ids.trie import Trie, named_once
from prorl.semantic_ids.vocabulary import Vocabulary

NO_TOKEN = -1  # behind the end of a path: every id from 0 on may be emitted


@dataclass(frozen=True)
class Paths:
    """Decoded paths.

    items [b, m, t]: -1 for a group of tokens that is no item (unconstrained decoding only), 0 behind the end;
    length [b, m], such groups counted; tokens [b, m, t * k]: ids as emitted, EOS and a partial group before
    it included, -1 behind them; log_prob [b, m, t+1] of each action (a group, or the stop with the partial
    group before it), 0 where none is made.
    """

    items: torch.Tensor
    length: torch.Tensor
    tokens: torch.Tensor
    log_prob: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> "Paths":
        return Paths(self.items[rows], self.length[rows], self.tokens[rows], self.log_prob[rows])


@dataclass(frozen=True)
class Asked:
    """What is asked of the paths of each prompt.

    tokens [b, s]: the encoder's input; forbidden [b, f]: items that no path may hold, each at most once per
    row, else 0; shortest and longest [b]: the fewest and the most items of a path.
    """

    tokens: torch.Tensor
    forbidden: torch.Tensor
    shortest: torch.Tensor
    longest: torch.Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: torch.Tensor) -> "Asked":
        return Asked(self.tokens[rows], self.forbidden[rows], self.shortest[rows], self.longest[rows])

    @classmethod
    def joined(cls, parts: "Sequence[Asked]") -> "Asked":
        """All prompts of `parts`, one after another."""
        most = max(part.forbidden.shape[1] for part in parts)
        return cls(
            tokens=torch.cat([part.tokens for part in parts]),
            forbidden=torch.cat(
                [F.pad(part.forbidden, (0, most - part.forbidden.shape[1])) for part in parts]
            ),
            shortest=torch.cat([part.shortest for part in parts]),
            longest=torch.cat([part.longest for part in parts]),
        )


@dataclass(frozen=True)
class Catalogue:
    """All items as codes, and the rules of decoding: what the policy may write. Where a policy reads and
    writes item IDs in place of semantic ones, there is one level, and its codes are the items.

    acceptances: how much acceptance may count, as a policy can be told by a token each; empty where it is not
    told. acceptance: the one of them that `prompt_tokens` tell. target_tokens: whether those of the target
    have ids of their own.
    """

    vocabulary: Vocabulary
    trie: Trie
    decoding: Decoding
    target_tokens: Literal["shared", "separate"]
    acceptances: tuple[float, ...] = ()
    acceptance: float | None = None

    @property
    def identifiers(self) -> Literal["semantic", "item"]:
        """By which tokens an item is read and written: a semantic ID has at least two codes."""
        return "item" if self.n_levels == 1 else "semantic"

    @property
    def n_levels(self) -> int:
        """Tokens per item."""
        return self.vocabulary.n_levels

    @property
    def n_tokens(self) -> int:
        """Tokens of the longest path."""
        return self.decoding.max_length * self.n_levels

    @property
    def n_ids(self) -> int:
        """Token ids that a policy has: those of the target's codes included where they are separate, and
        behind them those of `acceptances`.
        """
        return self._n_ids_of_items + len(self.acceptances)

    @property
    def _n_ids_of_items(self) -> int:
        separate = self.target_tokens == "separate"
        return self.vocabulary.size_with_target_tokens if separate else self.vocabulary.size

    def to(self, device: torch.device) -> "Catalogue":
        """The same on `device`."""
        return replace(self, trie=self.trie.to(device))

    def at(self, acceptance: float | None) -> "Catalogue":
        """The same, telling `acceptance`. Raises `ConfigError` where a policy cannot be told that."""
        if acceptance not in (self.acceptances or (None,)):
            allowed = (
                f"one of {list(self.acceptances)}" if self.acceptances else "null: the policy is not told"
            )
            raise ConfigError(f"acceptance: got {acceptance}, allowed: {allowed}")
        return replace(self, acceptance=acceptance)

    def blocking(self, items: Iterable[int]) -> "Catalogue":
        """The same, none of whose paths holds one of `items`; raises as `Decoding.blocking` does."""
        return replace(self, decoding=self.decoding.blocking(items))

    def acceptance_at(self, step: int) -> float | None:
        """What a policy in training is told at `step`, counted from 1: at every other step `acceptance`, and
        the others of `acceptances` in turn between them.
        """
        others = [a for a in self.acceptances if a != self.acceptance]
        return self.acceptance if step % 2 or not others else others[(step // 2 - 1) % len(others)]

    def item_tokens(self, items: torch.Tensor) -> torch.Tensor:
        """Token ids [.., k] of `items` [..]; padding throughout for item 0."""
        levels = 1 + self.vocabulary.codebook_size * torch.arange(self.n_levels, device=items.device)
        return (self.trie.item_codes[items] + levels) * (items != 0)[..., None]

    def prompt_tokens(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Encoder input [b, s]: history [b, h], target [b], and EOS or the token of `acceptance`."""
        target_tokens = self.item_tokens(target)
        if self.target_tokens == "separate":
            target_tokens = target_tokens + self.vocabulary.eos
        last = self.vocabulary.eos
        if self.acceptance is not None:
            last = self._n_ids_of_items + self.acceptances.index(self.acceptance)
        end = torch.full_like(target_tokens[:, :1], last)
        return torch.cat([self.item_tokens(history).flatten(1), target_tokens, end], dim=1)

    def asked(self, history: torch.Tensor, target: torch.Tensor) -> Asked:
        """What the rules ask of paths for `history` [b, h] and `target` [b].

        Raises `DataError` as `forbidden_at_start` does.
        """
        return Asked(
            tokens=self.prompt_tokens(history, target),
            forbidden=self.forbidden_at_start(history, target),
            shortest=torch.full_like(target, self.decoding.min_length),
            longest=torch.full_like(target, self.decoding.max_length),
        )

    def forbidden_at_start(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Items [b, f] that no path of a prompt may hold, each at most once per row, else 0.

        Raises `DataError` where the catalogue is so small that a path may run out of allowed items.
        """
        parts = [torch.zeros_like(target)[:, None]]  # so that there is a column where nothing is forbidden
        if "history" in self.decoding.forbid:
            parts.append(history)
        if "target" in self.decoding.forbid:
            parts.append(target[:, None])
        if self.decoding.blocked:
            parts.append(target.new_tensor(self.decoding.blocked).expand(len(target), -1))
        forbidden = named_once(torch.cat(parts, dim=1))
        # Items that a path needs beside those forbidden at its start: a new one at every place where it may
        # not stop; where repeats are allowed, one.
        more = max(1, self.decoding.min_length) if "repeats" in self.decoding.forbid else 1
        if self.trie.n_items < forbidden.shape[1] - 1 + more:  # else there is no need to count
            needed = int((forbidden != 0).sum(1).max()) + more
            if self.trie.n_items < needed:
                raise DataError(
                    f"{self.trie.n_items} items: with those forbidden, a path may find none to go on with; "
                    f"{needed} are enough"
                )
        return forbidden

    def choice_ids(self, level: int, device: torch.device) -> torch.Tensor:
        """Vocabulary ids of the choices at `level`: its codes, and behind them EOS at an item's first level.

        Unconstrained, at every level: all ids that a decoder may emit, which are those pre-training takes its
        softmax over.
        """
        if not self.decoding.constrained:
            return torch.arange(self.vocabulary.size, device=device)
        first = 1 + self.vocabulary.codebook_size * level
        ids = torch.arange(first, first + self.vocabulary.codebook_size, device=device)
        return torch.cat([ids, ids.new_tensor([self.vocabulary.eos])]) if level == 0 else ids

    def allowed(
        self,
        node: torch.Tensor,
        level: int,
        forbidden: torch.Tensor,
        position: torch.Tensor,
        shortest: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Which choices [r, c], as `choice_ids`, a path has at `node` [r] of `level` and path position [r],
        given `forbidden` [r, f] and the fewest items `shortest` [r]; None: those of the rules.
        """
        codes = self.trie.allowed_codes(node, level, forbidden)
        if level > 0:
            return codes
        may_stop = position >= (self.decoding.min_length if shortest is None else shortest)
        return torch.cat([codes, may_stop[:, None]], dim=1)

    def next_node(self, node: torch.Tensor, level: int, token: torch.Tensor) -> torch.Tensor:
        """The trie's nodes behind `node` [..] and the ids `token` [..] at `level`; `DEAD` behind an id that
        is no code of that level.
        """
        code = token - 1 - self.vocabulary.codebook_size * level
        is_code = (code >= 0) & (code < self.vocabulary.codebook_size)
        return self.trie.next_node[node, code * is_code] * is_code
