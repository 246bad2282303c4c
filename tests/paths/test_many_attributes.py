"""Attributes as bits where one word does not hold them all."""

import numpy as np
import pyarrow as pa
import pytest

from prorl.paths.mining import attribute_words, feasible_transitions, later_positions
from tests.tiny_models import sequences_of


@pytest.mark.parametrize("n", [64, 65, 200])
def test_every_attribute_is_seen_whichever_bit_it_is(n):
    """Items come in pairs, each with an attribute of its own."""
    words = attribute_words(pa.array([[f"a{i // 2}"] for i in range(2 * n)]), [])
    assert words.shape == (2 * n + 1, -(-n // 64))
    items = np.arange(1, 2 * n + 1)
    feasible = feasible_transitions(items, words, np.arange(1, 2 * n))
    assert feasible.tolist() == [position % 2 == 1 for position in range(1, 2 * n)]


def test_frequent_attributes_stand_in_the_first_word():
    """Most transitions are then decided by it alone."""
    rare, frequent = [[f"rare {i}"] for i in range(100)], [["frequent"]] * 2
    words = attribute_words(pa.array(rare + frequent), [])
    assert words[-2:].tolist() == [[1, 0], [1, 0]]


def test_positions_that_can_follow_another_in_a_run():
    """Behind a history of two, the first item of a run follows none."""
    assert later_positions(sequences_of([1, 2, 3, 4, 5], [1, 2, 3], [1], [1, 2, 3, 4]), 2).tolist() == [
        3,
        4,
        12,
    ]
