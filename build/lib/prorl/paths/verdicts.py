"""Verdicts on which item may follow which, made beside the mining: pairs of items, and whether the transition
is feasible.

Shape key: `e` interactions, `c` pairs of items, `p` later positions.
"""

import numpy as np
import pyarrow as pa

from prorl.errors import DataError
from prorl.paths.sequences import Sequences


def occurring_pairs(sequences: Sequences) -> np.ndarray:
    """The pairs [c, 2] of an item and the next of the same user, each once, in order."""
    before, after = sequences.items[:-1].astype(np.int64), sequences.items[1:].astype(np.int64)
    same_user = np.ones(len(before), dtype=bool)
    same_user[sequences.offsets[1:-1] - 1] = False
    stride = int(sequences.items.max(initial=0)) + 1
    key = np.sort((before * stride + after)[same_user])
    key = key[np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]]
    return np.stack(np.divmod(key, stride), axis=1)


def verdict_table(pairs: np.ndarray, score: np.ndarray, feasible: np.ndarray) -> pa.Table:
    """The verdicts on `pairs` [c, 2]: what each rests on, `score` [c], and whether it is `feasible` [c]."""
    return pa.table(
        {
            "item": pairs[:, 0].astype(np.int32),
            "next_item": pairs[:, 1].astype(np.int32),
            "score": score.astype(np.float32),
            "feasible": feasible,
        }
    )


def judged_transitions(items: np.ndarray, verdicts: pa.Table, positions: np.ndarray) -> np.ndarray:
    """Whether the item at each of `positions` [p] may follow the item before it, [p] bool.

    items: [e]. Plainly: the verdict on `(items[position - 1], items[position])`. Raises `DataError` naming a
    pair that `verdicts` lack.
    """
    before, after = (verdicts[name].to_numpy().astype(np.int64) for name in ("item", "next_item"))
    stride = int(max(items.max(initial=0), after.max(initial=0))) + 1
    key = before * stride + after
    order = np.argsort(key, kind="stable")
    asked = items[positions - 1].astype(np.int64) * stride + items[positions]
    place = np.minimum(np.searchsorted(key[order], asked), max(0, len(key) - 1))
    known = key[order][place] == asked if len(key) else np.zeros(len(asked), dtype=bool)
    if not known.all():
        item, following = divmod(int(asked[np.argmin(known)]), stride)
        raise DataError(
            f"no verdict on whether item {following} may follow item {item}; allowed: one on every pair that "
            "occurs, as the stage that judges makes them"
        )
    return verdicts["feasible"].to_numpy()[order][place]


def share_attribute(words: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Whether the items of each pair [c, 2] share an attribute, [c]; words: `attribute_words`."""
    return ((words[pairs[:, 0]] & words[pairs[:, 1]]) != 0).any(1)


def agreement(feasible: np.ndarray, by_attributes: np.ndarray) -> dict[str, float]:
    """How verdicts [c] compare with shared attributes [c]: shares of all pairs."""
    return {
        "feasible": float(feasible.mean()),
        "feasible_by_attributes": float(by_attributes.mean()),
        "agreement_with_attributes": float((feasible == by_attributes).mean()),
    }
