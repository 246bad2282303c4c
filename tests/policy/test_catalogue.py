"""Prompts and paths as tokens, and what a path may hold."""

from dataclasses import replace

import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.policy.actions import Actions, masked_log_softmax
from prorl.policy.catalogue import Catalogue
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from tests.tiny_models import random_catalogue, written

CODES = torch.tensor(
    [[0, 0], [0, 1], [1, 0], [1, 2], [2, 2], [2, 0]]
)  # items 1..6, two levels of three codes


def six_items(forbid=(), min_length=1, max_length=2, target_tokens="shared"):
    return Catalogue(
        Vocabulary(2, 3),
        Trie.from_codes(CODES, 3),
        Decoding(constrained=True, forbid=list(forbid), min_length=min_length, max_length=max_length),
        target_tokens,
    )


def test_prompts_are_history_target_and_end():
    history, target = torch.tensor([[1, 4], [6, 6]]), torch.tensor([5, 2])
    # Level 0 has the ids 1..3, level 1 4..6; 7 is reserved, 8 is EOS.
    assert six_items().prompt_tokens(history, target).tolist() == [
        [1, 4, 2, 6, 3, 6, 8],
        [3, 4, 3, 4, 1, 5, 8],
    ]
    separate = six_items(target_tokens="separate")
    assert separate.prompt_tokens(history, target).tolist() == [
        [1, 4, 2, 6, 11, 14, 8],
        [3, 4, 3, 4, 9, 13, 8],
    ]


@pytest.mark.parametrize(("target_tokens", "n_ids", "goal"), [("shared", 9, 0), ("separate", 15, 8)])
def test_an_item_id_is_one_token(target_tokens, n_ids, goal):
    """Item i is token i; 7 is reserved, 8 is EOS."""
    trie = Trie.from_codes(torch.arange(6)[:, None], 6)
    catalogue = Catalogue(Vocabulary(1, 6), trie, six_items().decoding, target_tokens)
    assert (catalogue.identifiers, six_items().identifiers) == ("item", "semantic")
    assert (catalogue.n_tokens, catalogue.n_ids) == (2, n_ids)
    history, target = torch.tensor([[0, 1, 4], [6, 0, 6]]), torch.tensor([5, 2])
    assert catalogue.prompt_tokens(history, target).tolist() == [
        [0, 1, 4, goal + 5, 8],
        [6, 0, 6, goal + 2, 8],
    ]
    told = replace(catalogue, acceptances=(0.0, 1.0), acceptance=1.0)
    assert told.prompt_tokens(history, target)[:, -1].tolist() == [n_ids + 1] * 2
    forbidden = torch.tensor([[2, 6, 0]])
    allowed = catalogue.allowed(torch.ones(1, dtype=torch.int64), 0, forbidden, torch.tensor([1]))
    assert allowed.tolist() == [[True, False, True, True, True, False, True]]  # the last is the stop


def test_padding_has_padding_tokens():
    assert six_items().item_tokens(torch.tensor([[0, 3]])).tolist() == [[[0, 0], [2, 4]]]


@pytest.mark.parametrize(
    ("forbid", "expected"),
    [
        ([], [[], []]),
        (["history"], [[1, 4], [6]]),
        (["target"], [[4], [2]]),
        (["history", "target"], [[1, 4], [2, 6]]),
        (["repeats"], [[], []]),
    ],
)
def test_items_forbidden_at_the_start_are_named_once(forbid, expected):
    rows = six_items(forbid).forbidden_at_start(torch.tensor([[1, 4], [6, 6]]), torch.tensor([4, 2]))
    assert [sorted(i for i in row if i) for row in rows.tolist()] == expected


def test_actions_of_paths_written_out():
    """A path of one item that stops, and one of the longest length that cannot."""
    catalogue = six_items(["repeats"])
    actions = Actions.of_paths(
        catalogue,
        torch.tensor([[1, 4]]),
        torch.tensor([5]),
        written(catalogue, torch.tensor([[[3, 0], [2, 1]]])),
    )
    assert actions.decoder_tokens.tolist() == [[[0, 2, 4, 0, 0], [0, 1, 5, 1, 4]]]
    first, second = actions.levels
    # Five decoder states and three actions per path.
    assert first.source.tolist() == [0, 2, 5, 7]
    assert first.action.tolist() == [0, 1, 3, 4]
    assert first.chosen.tolist() == [1, 3, 0, 0]  # code 1, the stop, code 0, code 0
    # A stop is open from the first item on; no code is closed by one repeated item, since each has two items.
    assert first.allowed.tolist() == [
        [True, True, True, False],
        [True] * 4,
        [True, True, True, False],
        [True] * 4,
    ]
    assert second.source.tolist() == [1, 6]
    assert second.action.tolist() == [0, 3]
    assert second.chosen.tolist() == [0, 1]
    assert second.allowed.tolist() == [
        [True, False, True],
        [True, True, False],
    ]  # in the last, item 2 is taken and item 1 alone is left
    assert actions.n_tokens.tolist() == [2, 1, 0, 2, 2, 0]


@pytest.mark.parametrize("min_length", [0, 1, 2])
def test_a_stop_is_allowed_from_the_shortest_length_on(min_length):
    catalogue = six_items(min_length=min_length)
    position = torch.arange(3)
    allowed = catalogue.allowed(
        torch.ones(3, dtype=torch.int32), 0, torch.zeros(3, 1, dtype=torch.int64), position
    )
    assert allowed[:, -1].tolist() == [t >= min_length for t in range(3)]


@pytest.mark.parametrize(
    ("forbid", "min_length", "needed"),
    [
        (("history", "target", "repeats"), 4, 7),  # three forbidden items, and four of the path
        (("history", "target", "repeats"), 3, None),  # after three it may stop
        (("history", "target"), 4, None),  # three are left, and may come again
        (("repeats",), 4, None),
    ],
)
def test_a_path_that_may_find_no_item_and_not_stop_is_an_error(forbid, min_length, needed):
    catalogue = six_items(forbid, min_length=min_length, max_length=4)
    history, target = torch.tensor([[1, 2], [1, 1]]), torch.tensor([3, 2])
    if needed is None:
        assert catalogue.forbidden_at_start(history, target).shape[0] == 2
        return
    with pytest.raises(DataError, match=rf"6 items: .*; {needed} are enough"):
        catalogue.forbidden_at_start(history, target)
    catalogue.forbidden_at_start(history[1:], target[1:])  # an item that is forbidden twice counts once


def test_masked_log_softmax_renormalises_over_what_is_allowed():
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    allowed = torch.tensor([[True, False, True, True]] * 5)
    log_probs = masked_log_softmax(logits, allowed)
    assert log_probs[:, 1].eq(-torch.inf).all()
    torch.testing.assert_close(log_probs[:, [0, 2, 3]], logits[:, [0, 2, 3]].log_softmax(-1))
    log_probs[:, 0].sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[:, 1].eq(0).all()


def test_the_longest_path_has_that_many_tokens():
    assert random_catalogue(30, max_length=4, n_levels=3).n_tokens == 12
