"""The cheapest way through the graph of items that follow each other."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.guides.graph_path import GraphPathGuide, cooccurrences
from tests.guides.test_rules import N_ITEMS, OURS, built, context_in
from tests.tiny_models import guide_data_of, prompts_of, sequences_of, some_prompts

RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=4)
# 1-2 three times, 2-3 twice, 1-4 once, 4-3 four times, 3-5 once, 6-7 once.
LOGS = sequences_of([1, 2, 1, 2], [3, 2, 3], [1, 4, 3, 4, 3, 4, 4], [5, 3], [6, 7])
LOGS_OF_OTHERS = sequences_of([1, 3, 1, 3, 1, 3])


def guide_on(logs, n_items=7, decoding=RULES, way="shortest", power=1.0, users=None):
    data = replace(
        guide_data_of(n_items),
        sequences=logs,
        train_users=np.arange(1, 1 + len(logs)) if users is None else users,
        titles=[""] * n_items,
    )
    return GraphPathGuide.build(data, way, power, decoding)


def path_of(guide, history, target):
    return [
        item
        for item in guide.paths(prompts_of(torch.tensor([history]), torch.tensor([target])))[0].tolist()
        if item
    ]


def test_cooccurrences_by_hand():
    found = cooccurrences(LOGS, 7).toarray()
    pairs = {(1, 2): 3, (2, 3): 2, (1, 4): 1, (3, 4): 4, (3, 5): 1, (6, 7): 1}
    expected = np.zeros((8, 8))
    for (one, other), count in pairs.items():
        expected[one, other] = expected[other, one] = count
    assert found.tolist() == expected.tolist()


def test_only_training_users_count():
    logs = sequences_of([1, 2], [2, 3])
    guide = guide_on(logs, users=np.array([1]))
    assert guide.costs.toarray()[2, 3] == 0
    assert guide.costs.toarray()[1, 2] == 1


@pytest.mark.parametrize(
    ("history", "power", "expected"),
    [
        ([7, 1], 1.0, [2, 3]),  # 1/3 + 1/2 + 1 by items 2 and 3; 1 + 1/4 + 1 by 4 and 3
        ([2, 1], 1.0, [4, 3]),  # item 2 is of the history
        ([7, 1], 0.01, [2, 3]),  # nearly the same cost for every edge, and the same two steps
    ],
)
def test_the_cheapest_way_by_hand(history, power, expected):
    assert path_of(guide_on(LOGS, power=power), history, 5) == expected


def test_the_way_ends_with_the_target_where_it_may_be_shown():
    free = RULES.replace(forbid=[], min_length=0)
    guide = guide_on(LOGS, decoding=free)
    assert path_of(guide, [7, 1], 5) == [2, 3, 5]
    assert path_of(guide, [7, 1], 2) == [2]
    assert path_of(guide, [2, 1], 6) == [], "there is no way"
    assert path_of(guide_on(LOGS, decoding=free.replace(max_length=2)), [7, 1], 5) == [2, 3]


def test_a_way_that_is_too_short_takes_the_cheapest_detours_first():
    longer = guide_on(LOGS, decoding=RULES.replace(min_length=3))
    # Between 1 and 2, 2 and 3, 3 and 5 there is no item that both touch but 4, which 1 and 3 alone touch:
    # no detour, so that the most popular follow: 4 stands five times in the logs.
    assert path_of(longer, [7, 1], 5) == [2, 3, 4]
    # From 1 to 3 directly: items 2 (1/3 + 1/2) and 4 (1 + 1/4) are detours, the first way is by 2.
    logs = sequences_of([1, 2, 3, 5], [1, 2, 1, 6, 2], [2, 7, 3], [2, 7, 3], [3, 4, 5])
    # Way 1 2 3 5; detours: 6 between 1 and 2 costs 1 + 1 - 1/3, 7 between 2 and 3 1/2 + 1/2 - 1, 4 between
    # 3 and 5 costs 1 + 1 - 1.
    assert path_of(guide_on(logs), [7, 1], 5) == [2, 3]
    assert path_of(guide_on(logs, decoding=RULES.replace(min_length=3)), [4, 1], 5) == [2, 7, 3]
    assert path_of(guide_on(logs, decoding=RULES.replace(min_length=3)), [7, 1], 5) == [2, 3, 4]
    every = guide_on(logs, decoding=RULES.replace(min_length=5, max_length=5))
    assert path_of(every, [1, 1], 5) == [6, 2, 7, 3, 4]


def test_where_there_is_no_way_the_most_popular_items_are_shown():
    guide = guide_on(LOGS, decoding=RULES.replace(min_length=2))
    # The logs hold 3 five times, 4 four times, 1 and 2 three times.
    assert path_of(guide, [7, 3], 6) == [4, 1]
    assert path_of(guide, [5, 6], 4) == [3, 1]


def test_the_way_within_the_tree_is_the_only_one_and_leaves_out_what_is_forbidden():
    guide = guide_on(LOGS, way="tree")
    # The tree holds 3-4 (1/4), 1-2 (1/3), 2-3 (1/2), 3-5 and 6-7 (1), not 1-4, which would close a circle.
    assert path_of(guide, [7, 1], 4) == [2, 3]
    assert path_of(guide, [3, 1], 4) == [2]
    assert path_of(guide_on(LOGS), [2, 1], 3) == [4]
    assert path_of(guide_on(LOGS, way="tree"), [4, 1], 3) == [2]


@pytest.mark.parametrize("way", ["shortest", "tree"])
def test_no_way_costs_less_than_a_cheapest_one(tmp_path, way):
    """The plain form: Bellman and Ford's, over all edges again and again."""
    guide = built("graph_path", {"way": way}, context_in(tmp_path / "guide", OURS.replace(min_length=0)))
    costs = guide.costs.toarray()
    costs[costs == 0] = np.inf
    prompts = some_prompts(12, N_ITEMS)
    for history, target, path in zip(prompts.history, prompts.target, guide.paths(prompts), strict=True):
        open_ = np.ones(N_ITEMS + 1, dtype=bool)
        open_[history.numpy()] = False
        open_[[int(history[-1]), int(target)]] = True
        allowed = np.where(open_[:, None] & open_, costs, np.inf)
        distance = np.full(N_ITEMS + 1, np.inf)
        distance[int(history[-1])] = 0
        for _ in range(N_ITEMS):
            distance = np.minimum(distance, (distance[:, None] + allowed).min(0))
        nodes = [int(history[-1]), *(item for item in path.tolist() if item), int(target)]
        cost = sum(costs[one, other] for one, other in itertools.pairwise(nodes))
        if way == "shortest":
            assert cost == pytest.approx(distance[int(target)])
        else:
            assert cost >= distance[int(target)] - 1e-12
