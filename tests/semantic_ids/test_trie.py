"""The trie against plain loops over all items."""

import numpy as np
import pytest
import torch

from prorl.semantic_ids.trie import DEAD, ROOT, Trie, named_once
from tests.tiny_models import random_codes

N_ITEMS, N_LEVELS, SIZE = 30, 3, 4


def codes_that_go_on(codes: np.ndarray, prefix: tuple[int, ...], forbidden: set[int]) -> set[int]:
    """Next codes of items that start with `prefix` and are not forbidden."""
    return {
        int(row[len(prefix)])
        for item, row in enumerate(codes, 1)
        if item not in forbidden and tuple(row[: len(prefix)]) == prefix
    }


def node_of(trie: Trie, prefix: tuple[int, ...]) -> int:
    node = ROOT
    for code in prefix:
        node = int(trie.next_node[node, code])
    return node


@pytest.mark.parametrize("seed", range(5))
def test_allowed_codes_equal_a_search_over_all_items(seed):
    codes = random_codes(N_ITEMS, N_LEVELS, SIZE, seed)
    trie = Trie.from_codes(torch.from_numpy(codes), SIZE)
    rng = np.random.default_rng(seed)
    dead_ends = 0
    for level in range(N_LEVELS):
        prefixes = sorted({tuple(row[:level].tolist()) for row in codes})
        for n_forbidden in (0, 1, 5, 20, N_ITEMS):
            forbidden = [rng.choice(N_ITEMS, n_forbidden, replace=False) + 1 for _ in prefixes]
            # One prefix loses all its items, and zeros stand anywhere among the forbidden.
            forbidden[0] = np.array(
                [i for i, row in enumerate(codes, 1) if tuple(row[:level]) == prefixes[0]]
            )
            width = max(map(len, forbidden)) + 2
            rows = np.stack([rng.permutation(np.pad(f, (0, width - len(f)))) for f in forbidden])
            nodes = torch.tensor([node_of(trie, prefix) for prefix in prefixes], dtype=torch.int32)
            allowed = trie.allowed_codes(nodes, level, torch.from_numpy(rows))
            expected = [
                codes_that_go_on(codes, prefix, set(f.tolist()))
                for prefix, f in zip(prefixes, forbidden, strict=True)
            ]
            assert [set(row.nonzero()[:, 0].tolist()) for row in allowed] == expected
            dead_ends += sum(not codes_left for codes_left in expected)
    assert dead_ends > N_LEVELS


def test_asking_changes_no_table():
    trie = Trie.from_codes(torch.from_numpy(random_codes(N_ITEMS, N_LEVELS, SIZE)), SIZE)
    below = trie.n_items_below.clone()
    for _ in range(2):
        trie.allowed_codes(torch.tensor([ROOT]), 0, torch.arange(1, N_ITEMS + 1)[None])
    assert torch.equal(trie.n_items_below, below)


def test_every_item_is_the_leaf_of_its_codes_and_nothing_else_is():
    codes = random_codes(N_ITEMS, N_LEVELS, SIZE)
    trie = Trie.from_codes(torch.from_numpy(codes), SIZE)
    assert trie.n_items == N_ITEMS
    for item, row in enumerate(codes.tolist(), 1):
        assert trie.leaf_item[node_of(trie, row)] == item
        assert trie.item_codes[item].tolist() == row
        assert trie.item_parents[item].tolist() == [node_of(trie, row[:level]) for level in range(N_LEVELS)]
    assert (trie.leaf_item > 0).sum() == N_ITEMS
    assert trie.n_items_below[ROOT] == N_ITEMS
    assert trie.next_node[DEAD].eq(DEAD).all()
    assert trie.n_items_below[DEAD] == 0
    absent = set(np.ndindex(*(SIZE,) * N_LEVELS)) - {tuple(row) for row in codes.tolist()}
    assert all(trie.leaf_item[node_of(trie, prefix)] == 0 for prefix in absent)


def test_a_node_with_one_child_names_its_code():
    trie = Trie.from_codes(torch.tensor([[0, 0], [0, 1], [2, 1]]), 3)
    assert trie.only_code[ROOT] == -1
    assert trie.only_code[trie.next_node[ROOT, 0]] == -1
    assert trie.only_code[trie.next_node[ROOT, 2]] == 1
    assert trie.only_code[DEAD] == -1


def test_two_items_with_the_same_codes_are_an_error_that_names_them():
    codes = random_codes(N_ITEMS, N_LEVELS, SIZE)
    codes[20] = codes[6]
    with pytest.raises(
        ValueError, match=rf"items 7 and 21 share the codes \[{', '.join(map(str, codes[6]))}\]"
    ):
        Trie.from_codes(torch.from_numpy(codes), SIZE)


def test_named_once():
    named = named_once(torch.tensor([[3, 0, 3, 1, 3], [2, 2, 0, 0, 5]]))
    assert [sorted(row) for row in named.tolist()] == [[0, 0, 0, 1, 3], [0, 0, 0, 2, 5]]
