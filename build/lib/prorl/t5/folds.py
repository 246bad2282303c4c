"""The folded layers of a policy, kept while it is frozen and unchanged.

A loaded policy is frozen; one in training is folded anew for each batch.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch

from prorl.t5.folded import FoldedT5
from prorl.t5.model import T5, product_dtype
from prorl.t5.single import SingleLayers


class Folds:
    """The layers of `policy` as decoders take them, always those of its present weights.

    They are kept where no weight asks for a gradient. A change is noticed by where the weights lie, by
    PyTorch's own count of the writes to each, and, since a fused optimiser's writes are not counted, by the
    scales of the norms, of which a training leaves none as it was.
    """

    def __init__(self, policy: T5):
        self.policy = policy
        self._made_from: tuple[tuple[torch.Tensor, int], ...] = ()
        self._scales = torch.empty(0)
        self._kept: dict[Hashable, Any] = {}

    def folded(self) -> FoldedT5:
        """The folded layers, in the precision of the surrounding autocast."""
        dtype = product_dtype(self.policy.shared.weight)
        return self._current(dtype, lambda: FoldedT5.of(self.policy, dtype))

    def single(self, max_tokens: int) -> SingleLayers:
        """The layers for single paths of at most `max_tokens`, in the precision of the weights."""
        dtype = self.policy.shared.weight.dtype
        return self._current(
            ("single", max_tokens), lambda: SingleLayers.of(FoldedT5.of(self.policy, dtype), max_tokens)
        )

    def _current(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives: kept under `name` from an earlier call where it would still give the same."""
        weights = tuple(self.policy.parameters())
        if any(weight.requires_grad or weight.is_inference() for weight in weights):
            self._made_from, self._kept = (), {}
            return make()
        scales = torch.cat([weight for weight in weights if weight.ndim == 1])
        unchanged = len(weights) == len(self._made_from) and all(
            weight.data_ptr() == old.data_ptr() and weight._version == version
            for weight, (old, version) in zip(weights, self._made_from, strict=True)
        )
        if not (unchanged and torch.equal(scales, self._scales)):
            # The weights are held, so that no other tensor comes to lie where they lie.
            self._made_from = tuple((weight.detach(), weight._version) for weight in weights)
            self._scales, self._kept = scales, {}
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]
