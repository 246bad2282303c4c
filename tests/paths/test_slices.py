"""Random slices in place of mined runs."""

from dataclasses import replace

import numpy as np
import pytest

from prorl.errors import DataError
from prorl.instances import Instances
from prorl.paths.sequences import Sequences
from prorl.paths.slices import random_slices

# Items say where they stand: user 1 has 101..109, user 2 has 201..206.
SEQUENCES = Sequences(np.array([*range(101, 110), *range(201, 207)], dtype=np.int32), np.array([0, 9, 15]))


def instances(n):
    """`n` times a run of 3 items of user 1, a run of 2 and the longest possible one of user 2."""
    run = [[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 9]] * n
    return Instances(
        user=np.array([1, 2, 2] * n, dtype=np.int32),
        history=np.zeros((3 * n, 2), dtype=np.int32),
        run=np.array(run, dtype=np.int32),
        length=np.array([3, 2, 4] * n),
        random_target=np.arange(3 * n),
    )


def test_a_slice_is_a_stretch_of_the_users_sequence_right_after_its_history():
    given = instances(200)
    found = random_slices(given, SEQUENCES, 5)
    for row in range(len(given)):
        length = given.length[row]
        whole = [*found.history[row], *found.run[row, :length]]
        assert whole == list(range(whole[0], whole[0] + 2 + length))
        assert found.run[row, length:].tolist() == [0] * (4 - length)
    assert np.array_equal(found.user, given.user)
    assert np.array_equal(found.length, given.length)
    assert np.array_equal(found.random_target, given.random_target)
    assert found.run.dtype == given.run.dtype


def test_every_place_is_drawn_equally_often():
    found = random_slices(instances(4000), SEQUENCES, 5)
    of_first = found.run[0::3, 0]
    places, counts = np.unique(of_first, return_counts=True)
    assert places.tolist() == [103, 104, 105, 106, 107]
    assert abs(counts - 800).max() < 4 * np.sqrt(800 * 0.8)
    assert set(found.run[2::3, 0]) == {203}, "the one place with room"


def test_draws_depend_on_the_seed_alone():
    first, same, other = (random_slices(instances(20), SEQUENCES, seed).run for seed in (5, 5, 6))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_user_without_room_is_named():
    given = instances(1)
    given = replace(given, history=np.zeros((3, 3), dtype=np.int32))
    with pytest.raises(DataError, match="user 2: too few interactions for a history of 3 items"):
        random_slices(given, SEQUENCES, 5)
