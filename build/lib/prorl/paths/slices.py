"""Slices of users' sequences that are not mined: what the paper compares mined paths with."""

from dataclasses import replace

import numpy as np

from prorl.errors import DataError
from prorl.instances import Instances
from prorl.paths.sequences import Sequences


def random_slices(instances: Instances, sequences: Sequences, seed: int) -> Instances:
    """`instances` with the history and run of another place in the same user's sequence, drawn uniformly.

    User and length of the run stay, so that the two differ in nothing but whether transitions are feasible;
    random targets stay too. Plainly, for each instance: `s = sequences.of(user)`, `start` uniform from `h` to
    `len(s) - length`, history `s[start - h : start]`, run `s[start : start + length]`. Raises `DataError` for
    a user whose sequence holds no such place.
    """
    h, n = instances.history.shape[1], len(instances)
    room = sequences.lengths[instances.user - 1] - instances.length - h + 1
    if (room < 1).any():
        user = instances.user[np.argmin(room)]
        raise DataError(f"user {user}: too few interactions for a history of {h} items and a slice after it")
    first = sequences.offsets[instances.user - 1]
    start = first + h + np.random.default_rng(seed).integers(0, room, n)
    columns = np.arange(instances.run.shape[1])
    inside = columns < instances.length[:, None]
    places = np.minimum(start[:, None] + columns, len(sequences.items) - 1)
    return replace(
        instances,
        history=sequences.items[start[:, None] + np.arange(-h, 0)].astype(instances.history.dtype),
        run=np.where(inside, sequences.items[places], 0).astype(instances.run.dtype),
    )
