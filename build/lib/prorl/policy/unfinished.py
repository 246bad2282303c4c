"""The paths of a batch still being decoded: where each stands in the trie, and what it may not hold.

Shape key: `b` prompts, `m` paths per prompt, `r` rows (paths), `f` forbidden items.
"""

from dataclasses import dataclass, fields, replace

import torch

from prorl.policy.catalogue import Asked, Catalogue
from prorl.semantic_ids.trie import ROOT
from prorl.tables import NON_ITEM


@dataclass(frozen=True)
class Unfinished:
    """The paths of a batch still being decoded.

    All [r, ..]: the numbers of `prompt` and `rollout`, the fewest items that a path may have, `shortest`,
    the items `forbidden` [r, f], the `node` in the trie within an item, the `item` completed last and the
    tokens `unread` [r, u], which the decoder has not been given yet.
    """

    prompt: torch.Tensor
    rollout: torch.Tensor
    shortest: torch.Tensor
    forbidden: torch.Tensor
    node: torch.Tensor
    item: torch.Tensor
    unread: torch.Tensor

    @classmethod
    def at_start(cls, asked: Asked, m: int) -> "Unfinished":
        """`m` paths for each prompt, prompt by prompt."""
        b, device = len(asked), asked.tokens.device
        nothing = torch.zeros(b * m, dtype=torch.int64, device=device)
        return cls(
            prompt=torch.arange(b, device=device).repeat_interleave(m),
            rollout=torch.arange(m, device=device).repeat(b),
            shortest=asked.shortest.repeat_interleave(m),
            forbidden=asked.forbidden.repeat_interleave(m, dim=0),
            node=torch.full((b * m,), ROOT, dtype=torch.int32, device=device),
            item=nothing,
            unread=nothing[:, None],
        )

    def __getitem__(self, rows: torch.Tensor) -> "Unfinished":
        return Unfinished(*(getattr(self, field.name)[rows] for field in fields(self)))

    def allowed(self, catalogue: Catalogue, t: int, level: int) -> torch.Tensor:
        """Which choices [r, c] of `level` the paths have at position `t`."""
        position = torch.full_like(self.prompt, t)
        return catalogue.allowed(self.node, level, self.forbidden, position, self.shortest)

    def only_token(self, catalogue: Catalogue, level: int) -> torch.Tensor:
        """The token [r] with which paths go on at `level` where the trie has no other, else 0.

        An item's first is always a choice.
        """
        if level == 0 or not catalogue.decoding.constrained:
            return torch.zeros_like(self.prompt)
        code = catalogue.trie.only_code[self.node]
        return torch.where(code >= 0, 1 + catalogue.vocabulary.codebook_size * level + code, 0)

    def read(self) -> "Unfinished":
        """The same once the decoder has been given all tokens."""
        return replace(self, unread=self.unread[:, :0])

    def after(self, catalogue: Catalogue, level: int, token: torch.Tensor) -> "Unfinished":
        """The same after `token` [r] at `level`: one code further, or with one more `item`, which is
        forbidden from then on.
        """
        node, unread = (
            catalogue.next_node(self.node, level, token),
            torch.cat([self.unread, token[:, None]], dim=1),
        )
        if level < catalogue.n_levels - 1:
            return replace(self, node=node, unread=unread)
        item = catalogue.trie.leaf_item[node]
        item = item.masked_fill(item == 0, NON_ITEM)
        repeats = "repeats" in catalogue.decoding.forbid
        forbidden = torch.cat([self.forbidden, item[:, None]], dim=1) if repeats else self.forbidden
        return replace(self, node=torch.full_like(node, ROOT), item=item, forbidden=forbidden, unread=unread)
