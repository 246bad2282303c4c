"""Paths of different lengths laid end to end, so that nothing behind the end of a path is computed.

Plainly: each path by itself, cut at its end; a test holds states and gradients equal.

Shape key: `b` prompts, `m` paths per prompt, `t` decoder tokens of the longest path, `p` packed tokens, `w`
packed tokens of the prompt that has most.
"""

from dataclasses import dataclass

import torch

LENGTH_STEP = (
    4  # lengths are rounded up to 1, 5, 9, .. tokens, so that few groups of one length hold all paths
)


@dataclass(frozen=True)
class Packing:
    """Where the tokens of paths [b, m, t] lie in two layouts.

    Packed [p], the shortest paths first; and prompt by prompt in a rectangle [b, w].

    `groups`: (number of paths, length) of consecutive paths of one length. `place` and `cell` [p]: index of
    each packed token in the flat [b * m * t] and in the flat rectangle. `packed_at_place` and
    `packed_in_cell`: the index of the packed token there, `p` where there is none.
    """

    groups: tuple[tuple[int, int], ...]
    place: torch.Tensor
    packed_at_place: torch.Tensor
    cell: torch.Tensor
    packed_in_cell: torch.Tensor

    @classmethod
    def of(cls, n_read: torch.Tensor, longest: int) -> "Packing":
        """The packing of paths [b, m, t] whose first `n_read` [b, m] tokens are read; 1 <= n_read <= t.

        t is `longest`.
        """
        b, m = n_read.shape
        length = n_read.flatten()
        length = (1 + LENGTH_STEP * ((length + LENGTH_STEP - 2) // LENGTH_STEP)).clamp(max=longest)
        order = length.argsort(stable=True)
        row = order.repeat_interleave(length[order])
        place = row * longest + within_groups(length[order])
        lengths, counts = torch.stack(torch.unique_consecutive(length[order], return_counts=True)).tolist()
        prompt = row // m
        by_prompt = prompt.argsort(stable=True)
        of_prompt = length.view(b, m).sum(1)
        width = int(of_prompt.max())
        cell_of_prompt = prompt[by_prompt] * width + within_groups(of_prompt)
        cell = torch.empty_like(prompt).index_copy_(0, by_prompt, cell_of_prompt)
        groups = tuple(zip(counts, lengths, strict=True))
        return cls(groups, place, _inverse(place, b * m * longest), cell, _inverse(cell, b * width))

    @property
    def in_order(self) -> bool:
        """Whether all paths have the longest length, so that packing moves nothing."""
        return len(self.place) == len(self.packed_at_place)

    def split(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The packed `x` [p, ..] group by group."""
        return (x,) if len(self.groups) == 1 else x.split([count * length for count, length in self.groups])

    def joined(self, groups: list[torch.Tensor]) -> torch.Tensor:
        """The inverse of `split`: groups [.., ..] joined to [p, ..]."""
        return groups[0] if len(groups) == 1 else torch.cat(groups)

    def to_rectangle(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [p, ..] as the flat rectangle [b * w, ..], 0 in its free cells."""
        return x if self.in_order else _Moved.apply(x, self.packed_in_cell, self.cell)

    def from_rectangle(self, x: torch.Tensor) -> torch.Tensor:
        """The packed [p, ..] of the flat rectangle `x` [b * w, ..]."""
        return x if self.in_order else _Moved.apply(x, self.cell, self.packed_in_cell)

    def to_paths(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [p, ..] as the flat [b * m * t, ..], 0 where nothing is read."""
        return x if self.in_order else _Moved.apply(x, self.packed_at_place, self.place)


def within_groups(counts: torch.Tensor) -> torch.Tensor:
    """0, 1, .. within each of the consecutive groups of `counts` [g] members, [counts.sum()]."""
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return torch.arange(len(starts), device=counts.device) - starts


def _inverse(index: torch.Tensor, size: int) -> torch.Tensor:
    """[size]: the position of each number in `index` [p], and `p` for numbers that are not in it."""
    inverse = torch.full((size,), len(index), device=index.device)
    return inverse.index_copy_(0, index, torch.arange(len(index), device=index.device))


class _Moved(torch.autograd.Function):
    """Rows of a matrix moved to other places.

    Forward and backward are one `index_select` each, since the gradient of PyTorch's own adds row by row.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, source: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(source, back)
        return _rows(x, source)

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor):
        (gradient,) = gradients
        _, back = ctx.saved_tensors
        return _rows(gradient, back), None, None


def _rows(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows `index` of `x` [r, d]; 0 for the number r."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])]).index_select(0, index)
