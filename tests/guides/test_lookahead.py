"""The search that looks a step ahead."""

import math

import numpy as np
import pytest
import torch

from prorl.config.pretrain import SearchWeights
from prorl.guides import lookahead
from prorl.guides.lookahead import LookaheadGuide
from tests.guides.test_search import N_ITEMS, RULES, WORDS, Counting, by_item, gains, rules, search_on
from tests.tiny_models import random_simulator, some_prompts

EVERY = 2 * N_ITEMS  # candidates: all items, twice


def looking(simulator, decoding, n_candidates, ahead, ctr=0.5, coherent=0.05):
    weights = SearchWeights(ctr=ctr, coherence=coherent)
    return LookaheadGuide(simulator, decoding, n_candidates, weights, WORDS, 4, ahead)


def allowed_gains(search, history, target, before):
    """What each item gains after those `before`, [n+1]; -inf where the rules forbid it."""
    gain = gains(search.simulator, history, target, before, search.weights)
    gain[[0, *history.tolist(), int(target), *before]] = -math.inf
    return gain


def worth(search, history, target, before):
    """Gain and what the best next item gains, of each item that is allowed after those `before`, [n+1]."""
    gain, t = allowed_gains(search, history, target, before), len(before)
    found = gain.copy()
    if t + 1 < search.decoding.max_length:
        for item in np.flatnonzero(gain > -math.inf):
            later = allowed_gains(search, history, target, [*before, int(item)]).max()
            found[item] += max(later, 0.0) if t + 1 >= search.decoding.min_length else later
    return found


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
@pytest.mark.parametrize("min_length", [1, 3])
def test_each_step_takes_the_item_that_is_worth_most_with_the_one_after_it(name, min_length, monkeypatch):
    monkeypatch.setattr(lookahead, "NEXT_OF_EACH", N_ITEMS)
    simulator = random_simulator(N_ITEMS, name)
    simulator.model.double()
    prompts = some_prompts(5, N_ITEMS)
    search = looking(simulator, rules(min_length, 3), EVERY, EVERY, ctr=0.02, coherent=0.01)
    paths = search.paths(prompts)
    for history, target, path in zip(prompts.history, prompts.target, paths.tolist(), strict=True):
        items = [item for item in path if item]
        for t in range(3):
            value = worth(search, history, target, items[:t])
            if t < len(items):
                assert items[t] == value.argmax()
                assert t < min_length or value.max() > 0
            else:
                assert value.max() <= 0
    blind = search_on(simulator, search.decoding, EVERY, ctr=0.02, coherent=0.01)
    assert not torch.equal(paths, blind.paths(prompts))


def test_candidates_that_are_not_looked_ahead_of_are_followed_by_what_is_on_average(monkeypatch):
    monkeypatch.setattr(lookahead, "NEXT_OF_EACH", N_ITEMS)
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    prompts = some_prompts(4, N_ITEMS)
    search = looking(simulator, rules(2, 2), EVERY, 3)
    found = search.demonstrations(prompts, 0.3)
    shares = by_item(found)[:, 0]
    shares[torch.arange(4), found.path[:, 0]] = 1 - shares.sum(1)
    for row, (history, target) in enumerate(zip(prompts.history, prompts.target, strict=True)):
        gain, value = (of(search, history, target, []) for of in (allowed_gains, worth))
        best = np.argsort(-gain)[:3]
        expected = gain + (value[best] - gain[best]).mean()
        expected[best] = value[best]
        weight = np.exp(expected / 0.3)
        np.testing.assert_allclose(shares[row].numpy(), weight / weight.sum(), atol=1e-9)


def test_the_last_item_is_looked_at_alone():
    simulator = random_simulator(N_ITEMS)
    prompts = some_prompts(20, N_ITEMS)
    one = rules(1, 1)
    assert torch.equal(
        looking(simulator, one, 6, 2).paths(prompts),
        search_on(simulator, one, 6, ctr=0.5, coherent=0.05).paths(prompts),
    )


@pytest.mark.parametrize("ahead", [1, 3, 99])
def test_the_states_of_a_path_are_those_that_the_model_computed_for_it(ahead):
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(12, N_ITEMS)
    search = looking(simulator, rules(1, 4), 5, ahead, ctr=0.01, coherent=0.005)
    search.simulator.model = Counting(simulator.model)
    lengths = set()
    for row in range(len(prompts)):
        prompt = prompts[row : row + 1]
        search.simulator.model.n_states = 0
        paths = search.paths(prompt)
        assert search.states(prompt, paths).tolist() == [search.simulator.model.n_states]
        lengths.add(int((paths != 0).sum()))
    assert len(lengths) > 1


@pytest.mark.parametrize(("n_candidates", "ahead"), [(1, 1), (2, 9), (7, 4)])
def test_paths_keep_the_rules(n_candidates, ahead):
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(30, N_ITEMS)
    paths = looking(simulator, rules(2, 4, RULES), n_candidates, ahead).paths(prompts)
    for history, target, path in zip(prompts.history, prompts.target, paths.tolist(), strict=True):
        items = [item for item in path if item]
        assert len(items) == len(set(items)) >= 2
        assert not set(items) & {*history.tolist(), int(target)}
        assert not any(path[len(items) :])


def test_paths_that_are_followed_are_weighed_as_its_own():
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    prompts = some_prompts(9, N_ITEMS)
    search = looking(simulator, rules(1, 4), 6, 3, ctr=0.01, coherent=0.005)
    own = search.demonstrations(prompts, 0.3)
    followed = search.demonstrations(prompts, 0.3, own.path)
    places = torch.arange(4) <= own.lengths[:, None]
    torch.testing.assert_close(by_item(followed)[places], by_item(own)[places], rtol=0, atol=1e-12)
