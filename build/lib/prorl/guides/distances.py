"""How far items are from a target: by a simulator's item vectors, or by attributes.

Shape key: `b` prompts, `n` items, `d` components of an item vector, `w` words of attribute bits.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config.floors import Distance


@dataclass(frozen=True)
class Distances:
    """Distances of `kind`: 1 less the cosine of the two `vectors` [n+1, d], their Euclidean distance, or the
    number of attributes that one of the two items has and the other lacks, from `words` [n+1, w].
    """

    kind: Distance
    vectors: torch.Tensor | None
    words: np.ndarray

    def to(self, target: torch.Tensor) -> torch.Tensor:
        """The distance [b, n+1] of every item to `target` [b]; that of padding has no meaning."""
        if self.kind == "attributes":
            different = self.words[target.cpu().numpy()][:, None] ^ self.words
            counts = np.bitwise_count(different).sum(-1, dtype=np.int64)
            return torch.from_numpy(counts).to(target.device)
        if self.vectors is None:
            raise ValueError(f"distance {self.kind} without item vectors")
        if self.kind == "cosine":
            return 1 - F.normalize(self.vectors[target], dim=-1) @ F.normalize(self.vectors, dim=-1).T
        return torch.cdist(self.vectors[target], self.vectors)
