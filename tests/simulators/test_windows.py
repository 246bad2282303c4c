"""Windows hold every transition once; last items; ranks as metrics."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.training import popularity_ranks
from prorl.simulators.windows import last_items, of_users, windows
from tests.tiny_models import sequences_of

MAX_LENGTH = 5
LENGTHS = [1, 2, MAX_LENGTH, MAX_LENGTH + 1, 2 * MAX_LENGTH, 2 * MAX_LENGTH + 1, 3 * MAX_LENGTH + 2]


def numbered(lengths):
    """Users whose items are all different, so that a transition tells where it stands."""
    ends = np.cumsum(lengths)
    return sequences_of(
        *(list(range(end - length + 1, end + 1)) for length, end in zip(lengths, ends, strict=True))
    )


@pytest.mark.parametrize("seed", range(8))
def test_windows_hold_every_transition_exactly_once(seed):
    rng = np.random.default_rng(seed)
    sequences = numbered(LENGTHS + rng.integers(1, 4 * MAX_LENGTH, 20).tolist())
    rows = windows(sequences, MAX_LENGTH, rng)
    assert rows.shape[1] == MAX_LENGTH + 1
    found = Counter()
    for row in rows.tolist():
        items = row[: row.index(0)] if 0 in row else row
        assert len(items) >= 2
        assert not any(row[len(items) :])  # padding stands behind alone
        found.update(pairwise(items))
    assert found == Counter(
        pair for user in range(1, len(sequences) + 1) for pair in pairwise(sequences.of(user).tolist())
    )


@pytest.mark.parametrize("seed", range(4))
def test_windows_are_those_cut_user_by_user(seed):
    sequences = numbered(LENGTHS)
    first_cut = np.random.default_rng(seed).integers(0, MAX_LENGTH, len(LENGTHS))
    expected = []
    for user, cut in enumerate(first_cut, start=1):
        items = sequences.of(user).tolist()
        starts = [0, *range(cut, len(items), MAX_LENGTH)]
        ends = [*range(cut, len(items), MAX_LENGTH), len(items) - 1]
        expected += [items[start : end + 1] for start, end in zip(starts, ends, strict=True) if end > start]
    rows = windows(sequences, MAX_LENGTH, np.random.default_rng(seed)).tolist()
    assert sorted([item for item in row if item] for row in rows) == sorted(expected)


def test_windows_differ_between_epochs_and_repeat_with_a_seed():
    sequences = numbered([4 * MAX_LENGTH] * 6)
    first, again, other = (windows(sequences, MAX_LENGTH, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert {tuple(row) for row in first.tolist()} != {tuple(row) for row in other.tolist()}


def test_users_of_one_item_have_no_window():
    assert windows(numbered([1, 1]), MAX_LENGTH, np.random.default_rng(0)).shape == (0, MAX_LENGTH + 1)


def test_last_items():
    target, before, length = last_items(sequences_of([4, 5, 6], [9], [1, 2], [1, 2, 3, 4, 5, 6, 7]), 4)
    assert target.tolist() == [6, 2, 7]
    assert before.tolist() == [[4, 5, 0, 0], [1, 0, 0, 0], [3, 4, 5, 6]]
    assert length.tolist() == [2, 1, 4]


def test_sequences_of_some_users():
    part = of_users(sequences_of([4, 5, 6], [9], [1, 2]), np.array([3, 1]))
    assert part.items.tolist() == [1, 2, 4, 5, 6]
    assert part.offsets.tolist() == [0, 2, 5]


def test_popularity_ranks():
    counts = np.array([0, 5, 9, 5, 1, 0])  # of items 0 (padding) to 5
    ranks = popularity_ranks(counts, sequences_of([1, 2], [2, 1], [1, 3], [1, 4], [1, 5]))
    assert ranks.tolist() == [1, 2, 2, 4, 5]


def test_ranking_metrics():
    metrics = ranking_metrics(torch.tensor([1, 3, 10, 11]))
    assert metrics["mrr@10"] == pytest.approx((1 + 1 / 3 + 1 / 10) / 4)
    assert metrics["recall@10"] == pytest.approx(3 / 4)
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 4)
    assert ranking_metrics(torch.tensor([1, 3]), top_k=2) == {"mrr@2": 0.5, "recall@2": 0.5, "ndcg@2": 0.5}
