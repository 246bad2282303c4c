"""Token ids of semantic IDs: item <-> codes <-> tokens.

An item has k codes, one per level. Id 0 is padding and the decoder's start. Code c of level l has id `1 +
codebook_size * l + c`. One reserved id and EOS follow. With 4 levels of 256 codes, 1025 is reserved, EOS is
1026, and there are 1,027 ids in all, as in the released code of ProRL. With `separate` target tokens, token
t of the *target* in the encoder's input becomes `eos + t`. Item IDs are codes of one level: item i has id i.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # neither is needed to run: what holds for one array holds for the other
    import numpy as np
    import torch

Array = TypeVar("Array", "np.ndarray", "torch.Tensor")


@dataclass(frozen=True)
class Vocabulary:
    """Ids for `n_levels` levels of `codebook_size` codes each."""

    n_levels: int
    codebook_size: int

    pad = 0

    @property
    def n_codes(self) -> int:
        """Code ids, over all levels."""
        return self.n_levels * self.codebook_size

    @property
    def eos(self) -> int:
        """Id of the end of a path, and of the encoder's input."""
        return self.n_codes + 2

    @property
    def size(self) -> int:
        """Ids a decoder may emit, padding and reserved included."""
        return self.n_codes + 3

    @property
    def size_with_target_tokens(self) -> int:
        """Ids where the target's codes have ids of their own."""
        return self.size + self.n_codes

    def tokens(self, codes: Array) -> Array:
        """Token ids [.., k] of codes [.., k], both int64 and of the same kind of array.

        Raises `ValueError` for a code outside its level or a wrong number of levels.
        """
        if codes.shape[-1] != self.n_levels:
            raise ValueError(f"codes have {codes.shape[-1]} levels, the vocabulary {self.n_levels}")
        if math.prod(codes.shape) and (codes.min() < 0 or codes.max() >= self.codebook_size):
            found = f"codes {int(codes.min())}..{int(codes.max())}"
            raise ValueError(f"{found}; allowed: 0..{self.codebook_size - 1}")
        tokens = codes + 1
        for level in range(self.n_levels):
            of_level = tokens[..., level]  # a view
            of_level += self.codebook_size * level
        return tokens
