"""The floors: random, popular, target_neighbours and universal."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.floors import UniversalSettings
from prorl.config.pretrain import SearchWeights
from prorl.files import read_json
from prorl.guides.distances import Distances
from prorl.guides.popular import PopularGuide, by_popularity
from prorl.guides.random import RandomGuide
from prorl.guides.target_neighbours import TargetNeighboursGuide
from prorl.guides.universal import FILE, UniversalGuide, candidates, mean_gains
from prorl.simulators.protocol import Scores
from tests.guides.test_rules import FREE, N_ITEMS, OURS, built, context_in
from tests.tiny_models import guide_data_of, prompts_of, sequences_of

FORBID = ["repeats", "history", "target"]


def test_random_items_are_uniform_over_the_open_ones_and_follow_number_and_seed():
    n = 4000
    prompts = prompts_of(torch.tensor([[1]]).expand(n, 1), torch.full((n,), 2))
    rules = Decoding(constrained=True, forbid=FORBID, min_length=2, max_length=2)
    paths = RandomGuide(5, rules, 3).paths(prompts)
    counts = Counter(map(tuple, paths.tolist()))
    assert set(counts) == set(itertools.permutations([3, 4, 5], 2))
    expected = n / 6
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 20.5, "chi2(5), p = .001"
    renumbered = replace(prompts, number=prompts.number.flip(0))
    assert torch.equal(RandomGuide(5, rules, 3).paths(renumbered), paths.flip(0))
    assert not torch.equal(RandomGuide(5, rules, 4).paths(prompts), paths)


def test_popular_items_are_those_of_training_users_in_order():
    data = guide_data_of(6)
    sequences = sequences_of([2, 2, 5, 5, 5, 1], [2, 2, 3, 6], [4, 4, 4, 4, 4, 4, 4])
    data = replace(data, sequences=sequences, train_users=np.array([1, 2]))
    # 2 stands four times, 5 three times, then 1, 3 and 6 once; 4 is of a user outside training alone.
    assert by_popularity(data, 6).tolist() == [2, 5, 1, 3, 6, 4]


def test_the_popular_path_leaves_out_what_the_rules_forbid_alone():
    items = np.array([2, 5, 1, 3, 6, 4])
    prompts = prompts_of(torch.tensor([[5, 5], [1, 6]]), torch.tensor([3, 2]))
    rules = Decoding(constrained=True, forbid=FORBID, min_length=1, max_length=3)
    assert PopularGuide(items, rules).paths(prompts).tolist() == [[2, 1, 6], [5, 3, 4]]
    free = rules.replace(forbid=[], min_length=0)
    assert PopularGuide(items, free).paths(prompts).tolist() == [[2, 5, 1], [2, 0, 0]]


VECTORS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.5], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])
# Attributes: 1 {a}, 2 {a, b}, 3 {a, b, c}, 4 {}, 5 {c}; the target below is 1.
BITS = np.array([[0], [1], [3], [7], [0], [4]], dtype=np.uint64)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cosine", [0, 1 - 2 / math.sqrt(4.25), 1 - math.sqrt(0.5), 1, 2]),
        ("l2", [0, math.sqrt(1.25), 1, math.sqrt(2), 2]),
        ("attributes", [0, 1, 2, 1, 2]),
    ],
)
def test_distances_by_hand(kind, expected):
    found = Distances(kind, None if kind == "attributes" else VECTORS, BITS).to(torch.tensor([1, 1]))
    assert found.shape == (2, 6)
    assert found[1, 1:].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "nearest_last", "expected"),
    [
        ("cosine", False, [2, 3, 4]),
        ("l2", False, [3, 2, 4]),
        ("attributes", False, [2, 4, 3]),  # 2 and 4 are equally near, and so are 3 and 5
        ("attributes", True, [3, 4, 2]),
    ],
)
def test_neighbours_of_the_target_by_hand(kind, nearest_last, expected):
    rules = Decoding(constrained=True, forbid=FORBID, min_length=1, max_length=3)
    prompts = prompts_of(torch.tensor([[5]]), torch.tensor([1]))
    guide = TargetNeighboursGuide(5, Distances(kind, VECTORS, BITS), nearest_last, rules)
    assert guide.paths(prompts).tolist() == [expected]


def test_where_the_target_may_be_shown_it_is_its_own_nearest_neighbour():
    rules = Decoding(constrained=True, forbid=[], min_length=0, max_length=3)
    prompts = prompts_of(torch.tensor([[5]]), torch.tensor([4]))
    twins = BITS.copy()
    twins[1] = 0  # 1 is just like the target, 4
    for nearest_last, expected in ((False, [4, 0, 0]), (True, [5, 1, 4])):
        guide = TargetNeighboursGuide(5, Distances("attributes", None, twins), nearest_last, rules)
        assert guide.paths(prompts).tolist() == [expected]


def test_the_universal_path_changes_only_where_it_must():
    rules = Decoding(constrained=True, forbid=FORBID, min_length=3, max_length=4)
    guide = UniversalGuide(9, [4, 7, 1, 2], [9, 3, 8], rules)
    prompts = prompts_of(torch.tensor([[5, 6], [5, 7], [1, 9], [3, 1]]), torch.tensor([8, 5, 7, 4]))
    # All may be shown; one is left out; two are, and 3 follows, since 9 is forbidden; 4 is the target.
    assert guide.paths(prompts).tolist() == [[4, 7, 1, 2], [4, 1, 2, 0], [4, 2, 3, 0], [7, 2, 9, 0]]
    free = replace(guide, decoding=rules.replace(forbid=[], min_length=0))
    assert free.paths(prompts).tolist() == [[4, 7, 1, 2], [4, 7, 1, 2], [4, 7, 0, 0], [4, 0, 0, 0]]


class ByHand:
    """A simulator whose target's log-probability rises by a tenth of the sum of the items, each taken with
    probability 1 / 2.
    """

    n_items = 5

    def score(self, history, path, target, *, ends=False):
        gain = path.sum(-1, keepdim=True) / 10
        acceptance = (path != 0) * 0.5
        return Scores(torch.cat([gain * 0 - 3, gain - 3], dim=-1), gain, acceptance)


def test_mean_gains_by_hand():
    prompts = prompts_of(torch.tensor([[1], [2]]), torch.tensor([5, 3]))
    paths = torch.tensor([[1, 2, 4], [5, 4, 0]])
    rules = Decoding(constrained=True, forbid=FORBID, min_length=1, max_length=3)
    found = mean_gains(ByHand(), prompts, paths, SearchWeights(ctr=2.0, coherence=0.5), BITS, rules, 1)
    half = 2 * math.log(0.5)
    # 1 may not show item 1, 2 not item 2, 1 not item 5; 2 and 4 share nothing, 1 and 4 neither, nor 5 and 4.
    first = [0.6 + 2 * half - 0.5, 0.5 + 2 * half - 0.5]
    second = [0.4 + half, 0.9 + 2 * half - 0.5]
    assert found.tolist() == pytest.approx([np.mean(first), np.mean(second)], abs=1e-6)
    together = mean_gains(ByHand(), prompts, paths, SearchWeights(ctr=2.0, coherence=0.5), BITS, rules, 9)
    assert found == pytest.approx(together, abs=1e-12)


def test_candidates_are_the_most_frequent_mined_paths_and_searched_ones(tmp_path):
    settings = UniversalSettings(
        simulator="SASRec",
        candidates=9,
        mined_share=0.4,
        prompts=6,
        n_candidates=4,
        weights=SearchWeights(ctr=1.0, coherence=1.0),
    )
    context = context_in(tmp_path / "guide", OURS.replace(min_length=2, forbid=["history"]))
    runs = {(1, 2, 3): 2, (4, 5, 6): 3, (7, 8): 9, (2, 3, 9): 1, (8, 9, 9): 1}  # the last is the target
    rows = [(*run, *[0] * (3 - len(run))) for run, count in runs.items() for _ in range(count)]
    n = len(rows)
    train = context.data.train
    train = replace(
        train,
        user=train.user[:n],
        history=train.history[:n],
        run=np.array(rows),
        length=np.array([sum(item != 0 for item in row) for row in rows]),
    )
    assert len(train.user) == n
    found, of_mined = candidates(settings, replace(context, data=replace(context.data, train=train)))
    assert of_mined == 3, "two fifths of nine; a path of one item is too short"
    assert found[:3].tolist() == [
        [4, 5, 0, 0, 0, 0],
        [1, 2, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0],
    ]
    assert of_mined < len(found) <= 9
    assert len(set(map(tuple, found.tolist()))) == len(found)


@pytest.mark.parametrize("decoding", [OURS, FREE])
def test_the_fitted_universal_path_is_the_best_candidate(tmp_path, decoding):
    context = context_in(tmp_path / "guide", decoding)
    guide = built("universal", {"candidates": 8, "prompts": 6, "n_candidates": 4}, context)
    ranked = read_json(context.folder / FILE)
    assert guide.path == ranked[0]
    assert len({*guide.path, *guide.spare}) == N_ITEMS, "every item may follow"
    others = [item for item in ranked[1] if item not in ranked[0]]
    assert guide.spare[: len(others)] == others
