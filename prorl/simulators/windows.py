"""Users' sequences as what sequential recommenders train and are tested on: windows, and last items.

Shape key: `u` users, `w` windows, `s` items read.
"""

import numpy as np
import torch

from prorl.paths.sequences import Sequences, within_groups


def of_users(sequences: Sequences, users: np.ndarray) -> Sequences:
    """The sequences of `users` (counted from 1) alone, in that order, numbered anew."""
    lengths = sequences.lengths[users - 1]
    places = np.repeat(sequences.offsets[users - 1], lengths) + within_groups(lengths)
    return Sequences(items=sequences.items[places], offsets=np.concatenate([[0], np.cumsum(lengths)]))


def last_items(sequences: Sequences, max_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The last item of each user [u], the up to `max_length` items before it [u, s] padded with 0 on the
    right, and their number [u].

    Users of a single item are left out.
    """
    lengths = np.minimum(sequences.lengths - 1, max_length)
    users = np.flatnonzero(lengths > 0)
    lengths, ends = lengths[users], sequences.offsets[1:][users] - 1
    before = _gather(sequences.items, ends - lengths, lengths, max_length)
    return torch.from_numpy(sequences.items[ends]).long(), before, torch.from_numpy(lengths)


def windows(sequences: Sequences, max_length: int, generator: np.random.Generator) -> torch.Tensor:
    """Windows [w, max_length + 1] that together hold every transition once, padded with 0 on the right, in
    random order.

    Each user's sequence is cut at every `max_length`-th item from a random first cut, so that windows differ
    between epochs. The plain form goes from user to user, cut to cut, and takes the items from one cut to the
    next, both included; here all are taken at once.
    """
    lengths = sequences.lengths
    first_cut = generator.integers(0, max_length, len(lengths))
    # Cuts at first_cut, first_cut + max_length, ...; the window before the first cut starts below 0 and is
    # shorter.
    n_windows = (lengths - 2 - first_cut) // max_length + 2
    user = np.repeat(np.arange(len(lengths)), n_windows)
    index = np.arange(len(user)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    start = np.maximum(first_cut[user] + (index - 1) * max_length, 0)
    last = np.minimum(first_cut[user] + index * max_length, lengths[user] - 1)
    keep = last > start
    start, last = (sequences.offsets[user] + start)[keep], (sequences.offsets[user] + last)[keep]
    order = generator.permutation(len(start))
    return _gather(sequences.items, start[order], (last - start + 1)[order], max_length + 1)


def _gather(items: np.ndarray, start: np.ndarray, length: np.ndarray, width: int) -> torch.Tensor:
    """Rows [r, width] of `length` [r] items from `start` [r], padded with 0 on the right."""
    columns = np.arange(width)
    inside = columns < length[:, None]
    positions = np.where(inside, start[:, None] + columns, 0)
    return torch.from_numpy(np.where(inside, items[positions], 0)).long()
