"""Metrics of guidance paths, each a value per path; a table's figure is their mean over prompts.

Definitions: section 1 of the method (IoI, IoR, CTR and Coherence as in ProRL, arXiv 2605.28293).
Shape key: `p` paths, `t` path position, `w` words of attribute bits, `n` items. Paths hold items, `NON_ITEM`
where tokens that are no item were emitted, and 0 behind the end.
"""

import numpy as np

from prorl.errors import DataError
from prorl.tables import NON_ITEM


def increment_of_interest(log_prob: np.ndarray) -> np.ndarray:
    """IoI [p]: log P(target) after the path minus before it, from log_prob [p, 2 or t+1]; 0 for an empty
    path.
    """
    return log_prob[:, -1] - log_prob[:, 0]


def increment_of_rank(rank: np.ndarray) -> np.ndarray:
    """IoR [p]: the target's rank before the path minus after it, from rank [p, 2 or t+1]; 0 for an empty
    path.
    """
    return rank[:, 0] - rank[:, -1]


def feasibility(acceptance: np.ndarray, items: np.ndarray) -> np.ndarray:
    """CTR [p]: mean acceptance of the path's items, non-items left out, from acceptance [p, t]; 0 for a path
    without items.
    """
    real = items > 0
    return (acceptance * real).sum(1) / np.maximum(real.sum(1), 1)


def coherence(items: np.ndarray, target: np.ndarray, attribute_words: np.ndarray) -> np.ndarray:
    """Share [p] of adjacent pairs that have an attribute in common, over the path followed by the target; 0
    for an empty path.

    attribute_words [n+1, w]: each item's attributes as bits; an item without attributes, or a non-item,
    shares none.
    """
    length = (items != 0).sum(1)
    followed = np.concatenate([items, np.zeros_like(items[:, :1])], axis=1)
    followed[np.arange(len(items)), length] = target
    words = attribute_words[np.maximum(followed, 0)]
    shared = (words[:, :-1] & words[:, 1:]).any(-1)
    return shared.sum(1) / np.maximum(length, 1)


def error(items: np.ndarray) -> np.ndarray:
    """Share [p] of emitted token groups that are no item; 0 for an empty path, and by construction under
    constrained decoding.
    """
    return (items == NON_ITEM).sum(1) / np.maximum((items != 0).sum(1), 1)


def length(items: np.ndarray) -> np.ndarray:
    """Items and non-items of the path, [p]."""
    return (items != 0).sum(1).astype(np.float64)


def repeats(items: np.ndarray) -> np.ndarray:
    """Share [p] of the path's items that it held before; 0 for an empty path."""
    same = np.tril(items[:, :, None] == items[:, None, :], k=-1).any(-1) & (items > 0)
    return same.sum(1) / np.maximum((items != 0).sum(1), 1)


def target_in_path(items: np.ndarray, target: np.ndarray) -> np.ndarray:
    """1 where the path holds its target, [p]."""
    return (items == target[:, None]).any(1).astype(float)


def history_in_path(items: np.ndarray, history: np.ndarray) -> np.ndarray:
    """Share [p] of the path's items that stand in the history [p, h]; 0 for an empty path."""
    known = (items[:, :, None] == history[:, None, :]).any(-1) & (items != 0)
    return known.sum(1) / np.maximum((items != 0).sum(1), 1)


def distinct(items: np.ndarray) -> np.ndarray:
    """1 / (number of prompts with the same path), [p]; the sum is the number of distinct paths, the mean
    distinct paths per prompt.
    """
    _, inverse, counts = np.unique(items, axis=0, return_inverse=True, return_counts=True)
    return 1 / counts[inverse.ravel()]


def diversity(items: np.ndarray, user: np.ndarray, n_pairs: int, seed: int) -> np.ndarray:
    """Mean Jaccard distance [p] between the path's items and those of paths of other users, over about
    `n_pairs` pairs in all.

    Every path meets equally many partners, drawn uniformly with `seed`; two empty paths are at distance 0.
    Raises `DataError` where all paths are of one user.
    """
    n = len(items)
    _, group, sizes = np.unique(user, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise DataError("diversity compares paths of different users; there is one user")
    n_partners = -(-n_pairs // n)
    # Sorted by user, the paths of others are one circular stretch behind the user's own.
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(sizes)])
    others = n - sizes[group]
    steps = np.random.default_rng(seed).integers(0, others[:, None], (n, n_partners))
    partner = order[(first[group + 1][:, None] + steps) % n]
    own, other = _sets(items), _sets(items)[partner]
    common = ((own[:, None, :, None] == other[:, :, None, :]) & (own[:, None, :, None] != 0)).any(-1).sum(-1)
    either = (own != 0).sum(1)[:, None] + (other != 0).sum(2) - common
    return 1 - np.where(either > 0, common / np.maximum(either, 1), 1.0).mean(1)


def _sets(items: np.ndarray) -> np.ndarray:
    """Each row's items once; repeats and non-items replaced by 0."""
    items = np.sort(np.maximum(items, 0), axis=1)
    items[:, 1:][items[:, 1:] == items[:, :-1]] = 0
    return items
