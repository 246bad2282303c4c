"""A policy before any training."""

import torch

from prorl.config.policy import Policy
from prorl.policy.catalogue import Catalogue
from prorl.runtime import derived_seed
from prorl.t5.model import T5, T5Sizes


def new_policy(settings: Policy, catalogue: Catalogue, seed: int) -> T5:
    """A policy of the sizes in `settings` over the ids of `catalogue`, its weights drawn with `seed`."""
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
    return T5(sizes)
