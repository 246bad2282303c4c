"""Beam search for paths on a simulator."""

import functools
import itertools

import pytest
import torch

from prorl.config.pretrain import SearchWeights
from prorl.guides.beam import BeamSearchGuide
from tests.guides.test_search import N_ITEMS, RULES, WORDS, gains, rules, search_on
from tests.tiny_models import random_simulator, some_prompts


def beam_on(simulator, decoding, width, n_candidates=2 * N_ITEMS, ctr=1.0, coherent=0.0, batch_size=16):
    weights = SearchWeights(ctr=ctr, coherence=coherent)
    return BeamSearchGuide(simulator, decoding, n_candidates, weights, WORDS, batch_size, width)


def total_gains(guide, history, target):
    """A function that gives what the items of a path gain one after another."""
    of_items = functools.cache(
        lambda before: gains(guide.simulator, history, target, list(before), guide.weights)
    )

    def total(path):
        items = tuple(item for item in path if item)
        return sum(of_items(items[:t])[item] for t, item in enumerate(items))

    return total


@pytest.mark.parametrize(("name", "coherent"), [("SASRec", 0.0), ("GRU4Rec", 0.05)])
@pytest.mark.parametrize("n_candidates", [5, 2 * N_ITEMS])
def test_one_path_under_way_is_the_search_without_a_beam(name, coherent, n_candidates):
    simulator, prompts = random_simulator(N_ITEMS, name), some_prompts(20, N_ITEMS)
    simulator.model.double()
    alone = search_on(simulator, rules(1, 4), n_candidates, ctr=0.9, coherent=coherent)
    beam = beam_on(simulator, rules(1, 4), 1, n_candidates, ctr=0.9, coherent=coherent, batch_size=7)
    assert torch.equal(beam.paths(prompts), alone.paths(prompts))
    assert len(set((alone.paths(prompts) != 0).sum(1).tolist())) > 1, "some stop early"


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_a_beam_that_holds_every_path_finds_the_best_of_all(name):
    simulator, prompts = random_simulator(N_ITEMS, name), some_prompts(3, N_ITEMS)
    simulator.model.double()
    guide = beam_on(simulator, rules(1, 2), 500, ctr=0.9, coherent=0.05)
    for history, target, path in zip(prompts.history, prompts.target, guide.paths(prompts), strict=True):
        allowed = set(range(1, N_ITEMS + 1)) - {*history.tolist(), int(target)}
        every = [*itertools.permutations(allowed, 2), *((item,) for item in allowed)]
        total = total_gains(guide, history, target)
        assert total(path.tolist()) == pytest.approx(max(map(total, every)))


def test_a_wider_beam_gains_more_on_average_and_keeps_the_rules():
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(12, N_ITEMS)
    simulator.model.double()
    means = []
    for width in (1, 8):
        guide = beam_on(simulator, rules(2, 4), width, 6)
        paths = guide.paths(prompts)
        for history, target, path in zip(
            prompts.history.tolist(), prompts.target.tolist(), paths.tolist(), strict=True
        ):
            items = [item for item in path if item]
            assert 2 <= len(items) == len(set(items)) <= 4
            assert path == [*items, *[0] * (4 - len(items))]
            assert not set(items) & {*history, target}
        parts = zip(prompts.history, prompts.target, paths.tolist(), strict=True)
        totals = [total_gains(guide, history, target)(path) for history, target, path in parts]
        means.append(sum(totals) / len(prompts))
    assert means[1] > means[0]


def test_paths_do_not_depend_on_the_batch():
    prompts, simulator = some_prompts(11, N_ITEMS), random_simulator(N_ITEMS)
    simulator.model.double()
    one, other = (beam_on(simulator, rules(1, 3), 4, 6, batch_size=size).paths(prompts) for size in (2, 64))
    assert torch.equal(one, other)


class Counting:
    """A model that counts the states it computes."""

    def __init__(self, model):
        self.model, self.states = model, 0

    def extend(self, items, memory=None):
        self.states += items.numel()
        return self.model.extend(items, memory)

    def branch(self, items, memory):
        self.states += items.numel()
        return self.model.branch(items, memory)

    def __getattr__(self, name):
        return getattr(self.model, name)


@pytest.mark.parametrize(("width", "n_candidates"), [(1, 3), (2, 4), (7, 2)])
def test_states_are_those_that_the_simulator_computes(width, n_candidates):
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(5, N_ITEMS)
    guide = beam_on(simulator, rules(1, 4, RULES), width, n_candidates)
    simulator.model = Counting(simulator.model)
    paths = guide.paths(prompts)
    assert int(guide.states(prompts, paths).sum()) == simulator.model.states
