"""Whether judges rank guides alike: Kendall's tau and Spearman's rho of any two, with bootstrap intervals
over users.

A guide that steers by a simulator is left out where that simulator is one of the two.
Shape key: `p` prompts, `g` guides, `r` resamples.
"""

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from prorl.metrics.intervals import UserBootstrap, interval

FEWEST = 3  # guides that make a ranking; two are in order or not


def agreement(
    judged: Mapping[str, Mapping[str, np.ndarray]],
    steered_by: Mapping[str, Collection[str]],
    bootstrap: UserBootstrap,
) -> dict[str, dict[str, Any]]:
    """{"A ~ B": {"guides", "kendall", "spearman"}} of any two judges.

    judged: {judge: {guide: values [p]}}, of which guides are ranked by the mean; steered_by: {guide: the
    simulators it steers by}; one that is not in it steers by none. The two coefficients are null where fewer
    than `FEWEST` guides are left.
    """
    means = {
        judge: {guide: (values.mean(), bootstrap.means(values)) for guide, values in own.items()}
        for judge, own in judged.items()
    }
    found = {}
    for pair in combinations(judged, 2):
        guides = [guide for guide in judged[pair[0]] if not {*pair} & {*steered_by.get(guide, ())}]
        entry: dict[str, Any] = {"guides": guides, "kendall": None, "spearman": None}
        if len(guides) >= FEWEST:
            (one, ones), (other, others) = (
                (
                    np.array([means[judge][guide][0] for guide in guides]),
                    np.stack([means[judge][guide][1] for guide in guides], axis=1),
                )
                for judge in pair
            )
            entry["kendall"] = interval(kendall(one, other), kendall(ones, others))
            entry["spearman"] = interval(spearman(one, other), spearman(ones, others))
        found[" ~ ".join(pair)] = entry
    return found


def kendall(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kendall's tau-b [..] of `one` and `other` [.., g]; 0 where one of them ties throughout."""
    signs = [np.sign(x[..., :, None] - x[..., None, :]) for x in (one, other)]
    both = (signs[0] * signs[1]).sum((-2, -1))
    untied = np.sqrt((signs[0] ** 2).sum((-2, -1)) * (signs[1] ** 2).sum((-2, -1)))
    return both / np.where(untied == 0, 1, untied)


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho [..] of `one` and `other` [.., g]; 0 where one of them ties throughout."""
    ranks = [rankdata(x, axis=-1) for x in (one, other)]
    centered = [rank - rank.mean(-1, keepdims=True) for rank in ranks]
    spread = np.sqrt((centered[0] ** 2).sum(-1) * (centered[1] ** 2).sum(-1))
    return (centered[0] * centered[1]).sum(-1) / np.where(spread == 0, 1, spread)
