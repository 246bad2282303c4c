"""Blocked items: no guide shows one, and nothing else about its paths changes."""

from dataclasses import replace

import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.policy.guide import PolicyGuide
from tests.guides.test_beam import beam_on
from tests.guides.test_search import N_ITEMS, rules, search_on
from tests.tiny_models import random_catalogue, random_policy, random_simulator, some_prompts

RULES = ["repeats", "history", "target"]
PROMPTS = some_prompts(20, 30)


def policy_of(n_items=30, **options):
    catalogue = random_catalogue(n_items, **options)
    return PolicyGuide(random_policy(catalogue), catalogue)


def holds(paths, items):
    return torch.isin(paths, torch.tensor(items))


def test_rules_know_what_is_blocked_and_say_nothing_of_it_where_they_are_saved():
    free = rules(1, 4)
    blocking = free.blocking([5, 2, 5])
    assert (free.blocked, blocking.blocked) == ((), (2, 5))
    assert blocking.model_dump() == free.model_dump()
    assert blocking.replace(max_length=6).blocked == (2, 5)
    assert blocking != free
    assert repr(blocking) == repr(free)[:-1] + ", blocked=(2, 5))"
    assert repr(free.blocking([])) == repr(free)
    assert free.blocking([]) == free


def test_paths_of_anything_cannot_do_without_some_items():
    anything = Decoding(constrained=False, forbid=[], min_length=0, max_length=4)
    assert anything.blocking([]).blocked == ()
    with pytest.raises(ConfigError, match=r"got 1 blocked items, allowed: none where decoding\.constrained"):
        anything.blocking([3])


@pytest.mark.parametrize("forbid", [[], RULES])
def test_a_policy_shows_no_blocked_item_in_any_way_it_writes(forbid):
    guide = policy_of(forbid=forbid)
    shown, times = guide.samples(PROMPTS, 6, seed=1)[:, :, 0].flatten().unique(return_counts=True)
    blocked = shown[times.argsort(descending=True)][:12].tolist()  # those it would show most
    blocking = guide.blocking(blocked)
    assert holds(guide.paths(PROMPTS), blocked).any()
    ways = {
        "greedy": blocking.paths(PROMPTS),
        "alone": torch.cat([blocking.paths(PROMPTS[row : row + 1]) for row in range(len(PROMPTS))]),
        "samples": blocking.samples(PROMPTS, 6, seed=1),
        "beams": blocking.beams(PROMPTS, 3),
    }
    for way, paths in ways.items():
        assert (paths > 0).any()
        assert not holds(paths, blocked).any(), way
    assert torch.equal(ways["alone"], ways["greedy"])
    assert blocking.n_items == guide.n_items == 30


def test_a_policy_without_what_it_never_shows_writes_the_same():
    guide = policy_of(forbid=RULES)
    paths = guide.paths(PROMPTS)
    unseen = sorted(set(range(1, 31)) - set(paths.flatten().tolist()))
    assert unseen
    assert torch.equal(guide.blocking(unseen[:3]).paths(PROMPTS), paths)


def test_blocked_items_may_stand_in_the_history_and_be_the_target():
    guide = policy_of(forbid=RULES)
    blocked = [int(PROMPTS.target[0]), *set(PROMPTS.history[0].tolist())]
    paths = guide.blocking(blocked).paths(PROMPTS)
    assert not holds(paths, blocked).any()
    assert torch.equal(paths[0], guide.paths(PROMPTS)[0]), "forbidden to it anyway"


def test_a_policy_that_is_left_too_few_items_is_refused():
    with pytest.raises(DataError, match=r"30 items: .*a path may find none to go on with; 31 are enough"):
        policy_of(max_length=4).blocking(range(1, 31)).paths(PROMPTS)


@pytest.mark.parametrize(("name", "width"), [("SASRec", None), ("GRU4Rec", None), ("SASRec", 3)])
def test_a_search_finds_the_best_path_without_blocked_items(name, width):
    simulator, prompts = random_simulator(N_ITEMS, name), some_prompts(12, N_ITEMS)
    decoding = rules(1, 3)
    free = (
        search_on(simulator, decoding, 2 * N_ITEMS) if width is None else beam_on(simulator, decoding, width)
    )
    paths = free.paths(prompts)
    shown, times = paths[paths > 0].unique(return_counts=True)
    blocked = shown[times.argsort(descending=True)][:3].tolist()
    found = replace(free, decoding=decoding.blocking(blocked)).paths(prompts)
    assert (found > 0).any()
    assert not holds(found, blocked).any()
    untouched = ~holds(paths, blocked).any(1)
    if width is None:  # a beam may have left another path for the sake of one that is blocked
        assert torch.equal(found[untouched], paths[untouched])
    assert not torch.equal(found, paths)


@pytest.mark.parametrize("width", [None, 1, 3])
def test_a_search_stops_where_no_item_is_left_however_short_its_path_is(width):
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(12, N_ITEMS)
    decoding = rules(4, 4).blocking(range(4, N_ITEMS + 1))
    guide = search_on(simulator, decoding, 6) if width is None else beam_on(simulator, decoding, width, 6)
    for history, target, path in zip(
        prompts.history.tolist(), prompts.target.tolist(), guide.paths(prompts).tolist(), strict=True
    ):
        left = {1, 2, 3} - {*history, target}
        assert sorted(path) == [0] * (4 - len(left)) + sorted(left)
        assert all(path[: len(left)])
