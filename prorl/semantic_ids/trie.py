"""The trie of all items' codes as tables on the device, and the codes that a path may take next.

Shape key: `n` items, `k` level, `c` code within a level, `r` rows, `f` forbidden items.
"""

from dataclasses import dataclass

import torch

DEAD, ROOT = 0, 1


@dataclass(frozen=True)
class Trie:
    """Codes of items as a prefix tree.

    next_node [inner nodes, c] int32: the node that a code leads to, `DEAD` where no item has that code;
    leaves are numbered last and have no row. only_code [inner nodes] int64: the code of a node's only
    child, -1 where a node has none or several. n_items_below [nodes] int32: items under a node, 0 under
    `DEAD`. leaf_item [nodes] int64: the item of a leaf, 0 for other nodes. item_codes [n + 1, k] int64:
    each item's codes. item_parents [n + 1, k] int32: the node before each of these codes, -1 for item 0.
    """

    next_node: torch.Tensor
    only_code: torch.Tensor
    n_items_below: torch.Tensor
    leaf_item: torch.Tensor
    item_codes: torch.Tensor
    item_parents: torch.Tensor

    @property
    def n_items(self) -> int:
        """Items, padding not counted."""
        return len(self.item_codes) - 1

    @classmethod
    def from_codes(cls, codes: torch.Tensor, codebook_size: int) -> "Trie":
        """The trie of `codes` [n, k], row i being item i + 1.

        Raises `ValueError` if two items share all codes.
        """
        codes = codes.long()
        n, n_levels = codes.shape
        parents = torch.full((n + 1, n_levels), -1, dtype=torch.int32)
        node = torch.full((n,), ROOT)
        edges, n_nodes = [], 2
        for level in range(n_levels):
            parents[1:, level] = node
            edge, position = torch.unique(node * codebook_size + codes[:, level], return_inverse=True)
            edges.append(edge)
            node = n_nodes + position
            n_nodes += len(edge)
        if n_nodes - len(edges[-1]) + n > n_nodes:
            order = node.argsort(stable=True)
            repeated = int((node[order].diff() == 0).nonzero()[0])
            first, twin = order[repeated : repeated + 2].tolist()
            raise ValueError(
                f"items {first + 1} and {twin + 1} share the codes {codes[first].tolist()}; "
                "every item needs its own"
            )
        next_node = torch.zeros(n_nodes - n, codebook_size, dtype=torch.int32)  # 1 KiB per node of 256 codes
        edge = torch.cat(edges)
        next_node.view(-1)[edge] = torch.arange(2, n_nodes, dtype=torch.int32)
        inner = edge // codebook_size
        only_code = torch.full((len(next_node),), -1)
        only_code[inner] = edge % codebook_size
        only_code[torch.bincount(inner, minlength=len(next_node)) > 1] = -1
        below = torch.bincount(parents[1:].flatten(), minlength=n_nodes).int()
        below[node] = 1
        leaf_item = torch.zeros(n_nodes, dtype=torch.int64)
        leaf_item[node] = torch.arange(1, n + 1)
        item_codes = torch.cat([codes.new_zeros(1, n_levels), codes])
        return cls(next_node, only_code, below, leaf_item, item_codes, parents)

    def to(self, device: torch.device) -> "Trie":
        """The same tables on `device`."""
        return Trie(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def allowed_codes(self, node: torch.Tensor, level: int, forbidden: torch.Tensor) -> torch.Tensor:
        """Mask [r, c] of the codes that lead from `node` [r] at `level` to an item not in `forbidden` [r, f].

        Plainly: code c is allowed if `item_codes[i, level] == c` for some item i below the node that is not
        forbidden. Here forbidden items are subtracted from the number of items below each child. A row of
        `forbidden` names an item at most once; 0 is ignored.
        """
        n_left = self.n_items_below[self.next_node[node]]
        passes_here = self.item_parents[forbidden, level] == node[:, None]
        n_left.scatter_add_(1, self.item_codes[forbidden, level], -passes_here.to(n_left.dtype))
        return n_left > 0


def named_once(items: torch.Tensor) -> torch.Tensor:
    """`items` [r, f] with repeated entries of a row replaced by 0; the order within a row changes."""
    items = items.sort(dim=1).values
    repeated = torch.zeros_like(items, dtype=torch.bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    return items.masked_fill(repeated, 0)
