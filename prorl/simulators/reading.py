"""Paths behind their histories, as simulators read them.

Shape key: `b` rows, `h` history, `t` path position.
"""

import torch


def appended(history: torch.Tensor, path: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The items of `path` [b, t] behind `history` [b, h], and how many there are in all, [b].

    Non-items (-1) are skipped; 0 stands behind the end.
    """
    order = (path <= 0).to(torch.int8).argsort(dim=-1, stable=True)
    items = torch.cat([history, path.gather(-1, order).clamp(min=0)], dim=1)
    return items, history.shape[1] + (path > 0).sum(1)
