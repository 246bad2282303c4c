"""Whether users that a simulator makes up behave as real ones do: real stretches of logs against items that
it samples after the same histories.

Shape key: `q` stretches, `h` history, `s` items of a stretch, `n` items, `w` words of attribute bits, `x`,
`y` values.
"""

from typing import cast

import numpy as np
import torch
from scipy.stats import ks_2samp

from prorl.metrics.intervals import UserBootstrap, interval
from prorl.simulators.protocol import RankingSimulator


def simulated(
    simulator: RankingSimulator,
    history: np.ndarray,
    length: int,
    seed: int,
    device: torch.device,
    batch_size: int,
) -> np.ndarray:
    """`length` items [q, s] after each `history` [q, h], each drawn from all items by P(item | what came
    before); nothing is forbidden. The simulator lies on `device`; draws do not depend on `batch_size`.
    """
    uniform = torch.rand(len(history), length, generator=torch.Generator().manual_seed(seed)).double()
    found = []
    for before, drawn in zip(
        torch.from_numpy(history).long().to(device).split(batch_size),
        uniform.to(device).split(batch_size),
        strict=True,
    ):
        items = before
        for t in range(length):
            cumulated = simulator.item_scores(items).double().softmax(1).cumsum(1)
            share = drawn[:, t : t + 1] * cumulated[:, -1:]
            # `right`: an item of probability 0 is never drawn
            items = torch.cat([items, 1 + torch.searchsorted(cumulated, share, right=True)], dim=1)
        found.append(items[:, before.shape[1] :].cpu().numpy())
    return np.concatenate(found)


def statistics(
    history: np.ndarray, after: np.ndarray, attribute_words: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """What is compared, a value [q] for each stretch `after` [q, s] its history [q, h].

    `attribute_repeats`: the share of its items that have an attribute in common with the item before, by
    attribute_words [n+1, w]; `popularity`: the mean of log(1 + interactions in training), by counts [n+1];
    `item_repeats`: the share of its items that the history or the stretch held before.
    """
    items = np.concatenate([history, after], axis=1).astype(np.int64)
    h = history.shape[1]
    words = attribute_words[items[:, h - 1 :]]
    same = items[:, :, None] == items[:, None, :]
    return {
        "attribute_repeats": (words[:, 1:] & words[:, :-1]).any(-1).mean(1),
        "popularity": np.log1p(counts[items[:, h:]]).mean(1),
        "item_repeats": np.tril(same, k=-1).any(-1)[:, h:].mean(1),
    }


def ks_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance of two samples [x], [y]: the largest difference of their distribution
    functions.
    """
    return float(cast(float, ks_2samp(one, other, method="asymp")[0]))


def ks_of_pairs(one: np.ndarray, other: np.ndarray, bootstrap: UserBootstrap) -> dict[str, float]:
    """The distance of two samples [q] that come from the same users, stretch by stretch, with its interval.

    Plainly: `ks_distance` of every resample. Here all are sorted once, and a resample weighs the steps of the
    distribution functions.
    """
    values = np.concatenate([one, other])
    order = np.argsort(values, kind="stable")
    weights = bootstrap.weights[:, bootstrap.group]
    weights = weights / weights.sum(1, keepdims=True)
    difference = np.concatenate([weights, -weights], axis=1)[:, order].cumsum(1)
    last = np.append(np.diff(values[order]) > 0, True)  # of equal values
    return interval(ks_distance(one, other), np.abs(difference[:, last]).max(1))
