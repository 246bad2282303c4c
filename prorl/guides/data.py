"""What guides may learn from, read from the tables of a data set."""

import numpy as np

from prorl.guide import GuideData
from prorl.instances import read_instances, users_by_split
from prorl.layout import Layout
from prorl.paths.sequences import Sequences, read_sequences
from prorl.tables import ITEMS, read_table


def guide_data(layout: Layout) -> GuideData:
    """Instances and interactions of training and validation users, and items' titles."""
    users = users_by_split(layout.splits)
    every = read_sequences(layout.interactions)
    split = {name: users[name] for name in ("train", "validation")}
    return GuideData(
        train=read_instances(layout.instances("train")),
        validation=read_instances(layout.instances("validation")),
        sequences=without_others(every, np.concatenate(list(split.values()))),
        train_users=split["train"],
        titles=read_table(layout.items, ITEMS)["title"].to_pylist(),
    )


def without_others(sequences: Sequences, users: np.ndarray) -> Sequences:
    """The same users with the same numbers, but for `users` (counted from 1) alone are there any items."""
    kept = np.isin(np.arange(1, len(sequences) + 1), users)
    lengths = np.where(kept, sequences.lengths, 0)
    items = sequences.items[np.repeat(kept, sequences.lengths)]
    return Sequences(items, np.concatenate([[0], np.cumsum(lengths)]))
