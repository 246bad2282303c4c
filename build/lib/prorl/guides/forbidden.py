"""What no path of a prompt may hold, by the rules of decoding: the same for every guide that goes by items.

Shape key: `b` prompts, `h` history, `n` items.
"""

from collections.abc import Collection

import torch

from prorl.config.decoding import Decoding


def forbidden_at_start(
    history: torch.Tensor, target: torch.Tensor, n_items: int, decoding: Decoding, also: Collection[str] = ()
) -> torch.Tensor:
    """Which items [b, n+1] no path after `history` [b, h] towards `target` [b] may hold; padding is one.

    `also`: rules kept beside those of `decoding`.
    """
    rules = {*decoding.forbid, *also}
    forbidden = torch.zeros(len(target), n_items + 1, dtype=torch.bool, device=target.device)
    forbidden[:, 0] = True
    if "history" in rules:
        forbidden.scatter_(1, history, True)
    if "target" in rules:
        forbidden.scatter_(1, target[:, None], True)
    if decoding.blocked:
        forbidden[:, list(decoding.blocked)] = True
    return forbidden
