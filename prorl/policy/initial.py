"""A policy before any training.

Shape key: `n` items, `d` width of their vectors, `w` of the policy, `v` its token ids.
"""

import torch

from prorl.config.policy import Policy
from prorl.policy.catalogue import Catalogue
from prorl.runtime import derived_seed
from prorl.t5.model import T5, T5Sizes


def new_policy(settings: Policy, catalogue: Catalogue, seed: int, vectors: torch.Tensor | None = None) -> T5:
    """A policy of the sizes in `settings` over the ids of `catalogue`, its weights drawn with `seed`.

    With `vectors` [n+1, d] of items, row 0 being padding, the embeddings of codes start from them: who likes
    an item need not be learnt anew. A code's is the mean of its items' vectors, at later levels of what the
    codes before have left; each is scaled to a mean square of 1, that of T5's own.
    """
    sizes = T5Sizes(
        vocabulary=catalogue.n_ids,
        n_layers=settings.n_layers,
        d_model=settings.d_model,
        d_ff=settings.d_ff,
        d_kv=settings.d_kv,
        n_heads=settings.n_heads,
        dropout=settings.dropout,
    )
    torch.manual_seed(derived_seed(seed, "pretrain", "weights"))
    policy = T5(sizes)
    if vectors is not None:
        generator = torch.Generator().manual_seed(derived_seed(seed, "pretrain", "embeddings"))
        with torch.no_grad():
            _start_from(policy.shared.weight, catalogue, turned(vectors[1:].cpu(), sizes.d_model, generator))
    return policy


def turned(vectors: torch.Tensor, width: int, generator: torch.Generator) -> torch.Tensor:
    """`vectors` [n, d] centred, turned at random into [n, `width`], and each scaled to a mean square of 1.

    The matrix that turns them is orthonormal, so that angles stay as they are where `width` is at least d.
    """
    d = vectors.shape[1]
    turn = torch.linalg.qr(torch.randn(max(d, width), min(d, width), generator=generator)).Q
    centred = (vectors.float() - vectors.float().mean(0)) @ (turn.T if width >= d else turn)
    return _scaled(centred)


def _start_from(table: torch.Tensor, catalogue: Catalogue, vectors: torch.Tensor) -> None:
    """Write `vectors` [n, w] of items 1..n over the rows of `table` [v, w] that stand for their codes."""
    vocabulary, left = catalogue.vocabulary, vectors
    firsts = [1]
    if catalogue.target_tokens == "separate":
        firsts.append(1 + vocabulary.eos)  # of the target's codes
    for level, codes in enumerate(catalogue.trie.item_codes[1:].cpu().long().T):
        count = torch.bincount(codes, minlength=vocabulary.codebook_size)
        mean = left.new_zeros(len(count), left.shape[1]).index_add_(0, codes, left)
        mean /= count.clamp(min=1)[:, None]
        left = left - mean[codes]
        used = mean.square().sum(1) > 0  # the others keep what was drawn
        for first in firsts:
            table[first + vocabulary.codebook_size * level + used.nonzero()[:, 0]] = _scaled(mean[used])


def _scaled(vectors: torch.Tensor) -> torch.Tensor:
    """`vectors` [n, w], each over the root of its mean square."""
    root = vectors.square().mean(1, keepdim=True).sqrt()
    return vectors / root.clamp(min=torch.finfo(vectors.dtype).tiny)
