"""Paths as the choices that make them, for the log-probabilities of a policy.

Shape key: `b` prompts, `m` paths per prompt, `h` history, `t` path position, `s` decoder states, `r` tokens,
`c` choices.
"""

from dataclasses import dataclass

import torch

from prorl.policy.catalogue import NO_TOKEN, Catalogue, Paths


@dataclass(frozen=True)
class LevelActions:
    """The tokens of one level that paths chose among two or more, `r` of them; unconstrained, those of all
    levels.

    ids [c]: the vocabulary's ids of that level's choices; source [r]: index of the decoder state that chose,
    in flat [b * m * s];
    action [r]: index of the action it belongs to, in flat [b * m * (t + 1)]; allowed [r, c]: the choices it
    had, None for all;
    chosen [r]: the one it took.
    """

    ids: torch.Tensor
    source: torch.Tensor
    action: torch.Tensor
    allowed: torch.Tensor | None
    chosen: torch.Tensor


@dataclass(frozen=True)
class Actions:
    """Paths as the choices that make them: decoder input [b, m, s], read up to `n_read` [b, m], and, level by
    level, what was chosen among what.

    An action at position t is an item or non-item (all its tokens) or the stop (EOS, and the partial group
    before it). A path of the longest length makes no stop. `n_tokens` [b * m * (t + 1)] are the tokens of
    each action, those without an alternative too; 0 where none is made.
    """

    decoder_tokens: torch.Tensor
    n_read: torch.Tensor
    levels: tuple[LevelActions, ...]
    n_tokens: torch.Tensor

    @classmethod
    def of_paths(
        cls, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, paths: Paths
    ) -> "Actions":
        """The actions of `paths`, decoded for `history` [b, h] and `target` [b] under the rules of
        `catalogue`.
        """
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
        decoder_tokens = torch.cat(
            [tokens.new_zeros(b, m, 1), tokens[..., : n_states - 1].clamp(min=0)], dim=2
        )
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
    def _of_items(
        cls, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, items: torch.Tensor
    ) -> "Actions":
        """Level by level, every code chosen among those that lead to an item the path may hold."""
        b, m, t_max = items.shape
        device, n_levels, trie = items.device, catalogue.n_levels, catalogue.trie
        length = (items != 0).sum(-1)
        tokens = catalogue.item_tokens(items[..., : int(length.max())]).flatten(2)
        decoder_tokens = torch.cat([tokens.new_zeros(b, m, 1), tokens], dim=2)
        n_states = decoder_tokens.shape[2]
        n_read = (length * n_levels + 1).clamp(
            max=t_max * n_levels
        )  # a path of the longest length makes no stop
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
