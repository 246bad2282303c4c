"""The split of users behind released instances, so that simulators see none of the released validation and
test users in training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prorl.errors import DataError
from prorl.paths.released_files import read_released
from prorl.paths.sequences import Sequences
from prorl.tables import SPLITS

OUTSIDE = len(SPLITS)  # the place of `LEFT_OUT` behind `SPLITS`


def released_split(
    start: str, sequences: Sequences, raw_items: Sequence[str], raw_users: Sequence[str]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of each user as its position in `SPLITS`, [u], `OUTSIDE` where it is none; and counts.

    Released training and validation entries name their users, those of test entries are the users in whose
    sequences the histories stand. Left out are users in no file, users in several splits, and users whose
    sequences hold a test history that several users' do. Raises `DataError` as `read_released` does, and
    where a split has no user.
    """
    released = read_released(start, "prepare.split_from", sequences, raw_items, raw_users)
    member = np.zeros((len(sequences), len(SPLITS)), dtype=bool)
    for place, name in enumerate(SPLITS):
        user = released.user[name]
        member[user[user > 0] - 1, place] = True
    n_splits = member.sum(1)
    split = np.where(n_splits == 1, member.argmax(1), OUTSIDE).astype(np.int8)
    alike = np.zeros(len(sequences), dtype=bool)
    alike[released.candidates - 1] = True
    alike &= split == SPLITS.index("train")  # others are not trained on anyway
    split[alike] = OUTSIDE
    counts = {name: int((split == place).sum()) for place, name in enumerate(SPLITS)}
    if not all(counts.values()):
        raise DataError(f"{start}: users per split: {counts}, allowed: at least one in each")
    return split, {
        "ids": released.reading,
        "test_histories": released.test_histories(),
        "users_left_out": {
            "in_no_file": int((n_splits == 0).sum()),
            "in_several_splits": int((n_splits > 1).sum()),
            "with_a_test_history_of_several_users": int(alike.sum()),
        },
    }
