"""From users' sequences to instances: feasible transitions, mined runs, random targets.

A run is a series of items joined by feasible transitions. An instance is a run of an allowed length, and the
history of `h` items right before it. The run's last item is the target, its other items are the path. Source:
the ProRL paper, section on path mining, with the released instances' conventions.

Shape key: `e` interactions, `n` items, `i` instances, `h` items of history, `p` later positions,
`w` words of 64 attributes.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from prorl.errors import DataError
from prorl.paths.sequences import Sequences, within_groups

WORD_BITS = 64


def attribute_words(attributes: pa.ChunkedArray | pa.Array, ignored: list[str]) -> np.ndarray:
    """Attribute sets as bits, [n + 1, w] uint64; row 0 is padding.

    Attributes in `ignored` are left out; frequent ones are in the first words. attributes: lists of texts
    [n], item 1 first. Plainly: one set of texts per item; two sets overlap where their words share a bit.
    """
    lists = attributes.combine_chunks() if isinstance(attributes, pa.ChunkedArray) else attributes
    coded = lists.flatten().dictionary_encode()
    names = coded.dictionary.to_pylist()
    code = coded.indices.to_numpy()
    item = np.repeat(np.arange(1, len(lists) + 1), np.diff(lists.offsets.to_numpy()))
    used = np.array([name not in ignored for name in names], dtype=bool)
    item, code = item[used[code]], code[used[code]]
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(-np.bincount(code, minlength=len(names)), kind="stable")] = np.arange(len(names))
    bit = rank[code]
    words = np.zeros((len(lists) + 1, max(1, -(-int(used.sum()) // WORD_BITS))), dtype=np.uint64)
    np.bitwise_or.at(words, (item, bit // WORD_BITS), np.uint64(1) << (bit % WORD_BITS).astype(np.uint64))
    return words


def later_positions(sequences: Sequences, history_length: int) -> np.ndarray:
    """Positions [p] of the items that can follow another item in a run.

    More than `history_length` items of the same user come before each of them.
    """
    return np.flatnonzero(within_groups(sequences.lengths) > history_length)


def feasible_transitions(items: np.ndarray, words: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether the item at each of `positions` [p] shares an attribute with the item before it, [p] bool.

    items: [e]; words: `attribute_words`. Plainly: `(words[items[positions]] & words[items[positions -
    1]]).any(1)`. Word by word, so that later words are read only for pairs that share nothing so far.
    """
    feasible = np.zeros(len(positions), dtype=bool)
    undecided = np.arange(len(positions))
    for word in np.ascontiguousarray(words.T):
        position = positions[undecided]
        shares = (word[items[position]] & word[items[position - 1]]) != 0
        feasible[undecided[shares]] = True
        undecided = undecided[~shares]
    return feasible


@dataclass(frozen=True)
class Runs:
    """Mined runs as slices of the sequences, user after user.

    user [i] int32, counted from 1; start [i] int64, position in `Sequences.items`; length [i] int64, in
    items; statistics: counts of what was found and dropped.
    """

    user: np.ndarray
    start: np.ndarray
    length: np.ndarray
    statistics: dict[str, int | dict[str, int]]


def mine_runs(
    sequences: Sequences,
    later: np.ndarray,
    feasible: np.ndarray,
    history_length: int,
    min_run: int,
    max_run: int,
) -> Runs:
    """Runs of `min_run` to `max_run` items, each after at least `history_length` items of the same user.

    later [p]: `later_positions`; feasible [p]: whether the transition into each is feasible. Plainly: walk
    through each user's items from the one after the first `history_length`, end a run at every transition
    that is not feasible, and start the next. The run that is open at the end of the sequence is dropped.
    Longer runs are dropped too, not cut.
    """
    offsets, lengths = sequences.offsets, sequences.lengths
    long_enough = lengths > history_length
    starts = np.zeros(len(sequences.items), dtype=bool)
    starts[offsets[:-1][long_enough] + history_length] = True
    starts[later[~feasible]] = True
    start = np.flatnonzero(starts)
    user = np.searchsorted(offsets, start, side="right").astype(np.int32)
    closed = user[1:] == user[:-1]
    length = np.diff(start)[closed]
    start, user = start[:-1][closed], user[:-1][closed]
    kept = (length >= min_run) & (length <= max_run)
    sizes = np.bincount(length, minlength=max_run + 1)
    statistics = {
        "users": len(sequences),
        "users_shorter_than_history": int((lengths < history_length).sum()),
        "users_without_item_after_history": int((lengths == history_length).sum()),
        "runs_open_at_end": int(long_enough.sum()),
        "runs_too_short": int((length < min_run).sum()),
        "runs_too_long": int((length > max_run).sum()),
        "runs_by_length": {str(size): int(sizes[size]) for size in range(min_run, max_run + 1)},
        "instances": int(kept.sum()),
    }
    return Runs(user[kept], start[kept], length[kept], statistics)


def instance_table(sequences: Sequences, runs: Runs, chosen: np.ndarray, history_length: int) -> pa.Table:
    """The instances of the runs in the mask `chosen` [i], as a table of user, history and run."""
    start, length = runs.start[chosen], runs.length[chosen]
    n = len(start)
    history = sequences.items[(start[:, None] + np.arange(-history_length, 0)).ravel()]
    run = sequences.items[np.repeat(start, length) + within_groups(length)]
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
    return pa.table(
        {
            "user": runs.user[chosen],
            "history": pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * history_length, history),
            "run": pa.ListArray.from_arrays(offsets, run),
        }
    )


def random_targets(sequences: Sequences, user: np.ndarray, n_items: int, seed: int) -> np.ndarray:
    """Items drawn uniformly for `user` [i], each from those the user never interacted with, [i] int32.

    Plainly: `free[user[i]][drawn[i]]`, where `free[u]` are the items that user u never interacted with, in
    order, and `drawn[i]` is uniform below their number. Here no free item is listed. Raises `DataError` for a
    user who interacted with every item.
    """
    free = FreeItems.of(sequences, user, n_items)
    return free.numbered(np.random.default_rng(seed).integers(0, free.counts))


@dataclass(frozen=True)
class FreeItems:
    """The items that users never interacted with, none of them listed: see `random_targets`.

    prompt [i]: of each place that asks, its user's number among those who are asked about; counts [i]: the
    user's free items. owner and item [k]: those users' distinct items in increasing order; first [users + 1]:
    where each user's begin; n_items: of the catalogue.
    """

    prompt: np.ndarray
    counts: np.ndarray
    owner: np.ndarray
    item: np.ndarray
    first: np.ndarray
    n_items: int

    @classmethod
    def of(cls, sequences: Sequences, user: np.ndarray, n_items: int, before: int = 0) -> "FreeItems":
        """Those of `user` [i]. before: users of the data set before user 1 of `sequences`, for the message.

        Raises `DataError` for a user who interacted with every item.
        """
        asked, prompt = np.unique(user, return_inverse=True)
        lengths = sequences.lengths[asked - 1]
        # The distinct items of each of these users in increasing order, as one sorted array of keys: the
        # user's number among them, then the item.
        position = np.repeat(sequences.offsets[asked - 1], lengths) + within_groups(lengths)
        items = sequences.items[position].astype(np.int64)
        stride = n_items + 1
        key = np.unique(np.repeat(np.arange(len(asked)), lengths) * stride + items)
        owner, item = np.divmod(key, stride)
        first = np.searchsorted(owner, np.arange(len(asked) + 1))
        n_free = n_items - np.diff(first)
        if not n_free.all():
            raise DataError(
                f"user {before + asked[np.argmin(n_free)]} interacted with all {n_items} items: no random "
                "target is left"
            )
        return cls(prompt, n_free[prompt], owner, item, first, n_items)

    def numbered(self, drawn: np.ndarray) -> np.ndarray:
        """Of each user the free item number `drawn` [i], counted from 0, [i] int32."""
        # Free item number `drawn` is item number `drawn`, moved up by one for each of the user's items that
        # come before it. Those are the items with at most `drawn` free items below them.
        stride = self.n_items + 1
        free_below = self.item - 1 - (np.arange(len(self.item)) - self.first[self.owner])
        before = (
            np.searchsorted(self.owner * stride + free_below, self.prompt * stride + drawn, side="right")
            - self.first[self.prompt]
        )
        return (drawn + 1 + before).astype(np.int32)
