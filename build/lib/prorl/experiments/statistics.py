"""Means over seeds with intervals over users, and rows compared prompt by prompt.

Shape key: `s` seeds, `p` prompts.
"""

import numpy as np

from prorl.metrics.intervals import UserBootstrap


def over_seeds(values: np.ndarray, bootstrap: UserBootstrap) -> dict:
    """Mean of `values` [s, p] with its 95% interval: `{"mean", "low", "high", "seeds"}`.

    Users are resampled, of each prompt's values averaged over seeds; `seeds` are the means of the single
    seeds.
    """
    return bootstrap.mean(values.mean(0)) | {"seeds": [float(mean) for mean in values.mean(1)]}


def difference(values: np.ndarray, reference: np.ndarray, bootstrap: UserBootstrap) -> dict:
    """`over_seeds` of `values` - `reference`, both [s, p] on the same prompts and seeds, and `clear`.

    A difference is clear if its interval excludes 0 and it has the same sign for every seed.
    """
    result = over_seeds(values - reference, bootstrap)
    excludes_zero = result["low"] > 0 or result["high"] < 0
    return result | {"clear": bool(excludes_zero and len(set(np.sign(result["seeds"]))) == 1)}
