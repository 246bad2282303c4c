"""Chronological order, k-core and the split of users, against obvious versions."""

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from prorl.config.section import ConfigError
from prorl.paths.sequences import chronological, k_core, split_users, user_sequences, within_groups
from prorl.tables import DataError


def naive_core(pairs, min_user, min_item):
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if users[u] >= min_user and items[i] >= min_item]
        if kept == pairs:
            return kept
        pairs = kept


@pytest.mark.parametrize("seed", range(5))
def test_k_core_is_the_fixed_point(seed):
    generator = np.random.default_rng(seed)
    user = generator.zipf(1.5, 2000) % 100
    item = generator.zipf(1.3, 2000) % 200
    core = k_core(user, item, 5, 7)
    expected = naive_core(list(zip(user.tolist(), item.tolist(), strict=True)), 5, 7)
    assert expected
    assert list(zip(user[core.kept].tolist(), item[core.kept].tolist(), strict=True)) == expected
    assert core.users.interactions + core.items.interactions + len(expected) == 2000
    left = len({u for u, _ in expected}), len({i for _, i in expected})
    assert len(set(user.tolist())) - core.users.users - core.items.users == left[0]
    assert len(set(item.tolist())) - core.users.items - core.items.items == left[1]


def test_k_core_may_leave_nothing():
    core = k_core(np.array([0, 0, 1]), np.array([0, 1, 2]), 2, 2)
    assert len(core.kept) == 0
    assert core.users.interactions == 1
    assert core.items.interactions == 2


def test_order_is_numeric_and_ties_keep_file_order():
    user = np.array([1, 0, 1, 0, 1, 1])
    timestamp = np.array([1_000_000_000, 5, 978_300_000, 5, 978_300_000, 3])
    assert chronological(user, timestamp).tolist() == [1, 3, 5, 2, 4, 0]


@pytest.mark.parametrize("span", [1, 40, 2**20, 2**62])
def test_order_is_that_of_a_sort_by_comparison(span):
    generator = np.random.default_rng(0)
    user = generator.integers(0, 70_000, 2000).astype(np.int32)
    user[::3] = 7
    timestamp = generator.integers(-span, span, 2000)
    np.testing.assert_array_equal(chronological(user, timestamp), np.lexsort((timestamp, user)))


def test_nothing_is_in_order():
    assert len(chronological(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64))) == 0


@pytest.mark.parametrize("kind", [pa.table, pd.DataFrame])
def test_sequences_of_users(kind):
    sequences = user_sequences(
        kind({"user": np.array([1, 1, 2, 4], dtype=np.int32), "item": np.array([7, 8, 9, 6], dtype=np.int32)})
    )
    assert len(sequences) == 4
    assert [sequences.of(user).tolist() for user in (1, 2, 3, 4)] == [[7, 8], [9], [], [6]]
    assert sequences.lengths.tolist() == [2, 1, 0, 1]
    assert sequences.users.tolist() == [1, 1, 2, 4]


def test_positions_within_groups():
    assert within_groups(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
    assert within_groups(np.zeros(0, dtype=np.int64)).tolist() == []


def test_sequences_need_sorted_users():
    with pytest.raises(DataError, match="not sorted by user"):
        user_sequences(pa.table({"user": [2, 1], "item": [1, 1]}))


def test_split_has_the_shares_and_the_seed_decides_who():
    split = split_users(1000, [8.0, 1.0, 1.0], 3)
    assert np.bincount(split).tolist() == [800, 100, 100]
    assert np.array_equal(split, split_users(1000, [8.0, 1.0, 1.0], 3))
    assert not np.array_equal(split, split_users(1000, [8.0, 1.0, 1.0], 4))
    assert np.unique(split[:100]).tolist() == [0, 1, 2]


def test_split_refuses_what_leaves_one_empty():
    with pytest.raises(DataError, match=r"4 users .*'test': 0"):
        split_users(4, [8.0, 1.0, 1.0], 0)
    with pytest.raises(ConfigError, match=r"prepare.split: got 2 shares, allowed: 3"):
        split_users(40, [8.0, 2.0], 0)
