"""What guides may learn from: all of it is of training and validation users."""

import numpy as np

from prorl.guides.data import without_others
from tests.tiny_models import sequences_of


def test_other_users_keep_their_numbers_and_lose_their_items():
    kept = without_others(sequences_of([1, 2], [3], [4, 5, 6], [7]), np.array([3, 1]))
    assert len(kept) == 4
    assert [kept.of(user).tolist() for user in (1, 2, 3, 4)] == [[1, 2], [], [4, 5, 6], []]
