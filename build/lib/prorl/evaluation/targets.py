"""Harder targets: what a simulator finds likely, or unlikely, for a user to take next.

Shape key: `p` prompts, `h` history, `q` percentiles, `n` items.
"""

import torch

from prorl.errors import DataError
from prorl.paths.sequences import Sequences
from prorl.prompts import Prompts
from prorl.simulators.protocol import RankingSimulator

SCORES_AT_ONCE = 2**24  # 64 MiB of float32


def percentile_targets(
    simulator: RankingSimulator, prompts: Prompts, sequences: Sequences, percentiles: list[int]
) -> dict[str, torch.Tensor]:
    """The targets `target@q` [p] of each percentile q.

    Ranked are the items that the prompt's user never interacted with, by the simulator's score after the
    history, likeliest first; equal scores are ranked by item. The target is the item at rank ceil(q / 100 *
    their number). Of a user beyond `sequences`, as imported prompts may have, the history alone is known.

    Raises `DataError` for a user who interacted with every item.
    """
    history, user = prompts.history, prompts.user.cpu().numpy()
    n_items, device = simulator.n_items, history.device
    targets = torch.empty(len(percentiles), len(history), dtype=torch.int64, device=device)
    for rows in torch.arange(len(history)).split(max(1, SCORES_AT_ONCE // n_items)):
        scores = simulator.item_scores(history[rows])
        for row, of_user in enumerate(user[rows.numpy()]):
            known = of_user <= len(sequences)
            met = torch.from_numpy(sequences.of(of_user) - 1) if known else history[rows[row]] - 1
            scores[row, met.long()] = -torch.inf
        n_free = (~scores.isneginf()).sum(1)
        if not n_free.all():
            raise DataError(
                f"user {user[rows[n_free.argmin()]]} interacted with all {n_items} items: no target is left"
            )
        ranked = scores.argsort(dim=1, descending=True, stable=True)
        for targets_of, percentile in zip(targets, percentiles, strict=True):
            rank = (n_free.double() * percentile / 100).ceil().long()
            targets_of[rows] = 1 + ranked.gather(1, rank[:, None] - 1)[:, 0]
    return {f"target@{percentile}": own for percentile, own in zip(percentiles, targets, strict=True)}
