"""The search for paths on a simulator."""

import math

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.guides.lookahead import LookaheadGuide
from prorl.guides.search import SearchGuide
from prorl.metrics.path_metrics import coherence
from prorl.prompts import Prompts
from tests.tiny_models import random_paths, random_simulator, some_prompts

N_ITEMS = 14
RULES = ["repeats", "history", "target"]
# Attributes as bits in two words; item 3 has none.
WORDS = np.array(
    [
        [0, 0],
        *([[1 << (i % 3), 1 << 63 if i == 7 else 0] if i != 3 else [0, 0] for i in range(1, N_ITEMS + 1)]),
    ],
    dtype=np.uint64,
)


def rules(min_length, max_length, forbid=RULES):
    return Decoding(constrained=True, forbid=forbid, min_length=min_length, max_length=max_length)


def search_on(simulator, decoding, n_candidates, ctr=1.0, coherent=0.0, batch_size=128):
    weights = SearchWeights(ctr=ctr, coherence=coherent)
    return SearchGuide(simulator, decoding, n_candidates, weights, WORDS, batch_size)


def gains(simulator, history, target, before, weights):
    """What each item gains as the next one, scored as a path of its own, [n+1]; -inf for padding."""
    found = [-math.inf]
    for item in range(1, simulator.n_items + 1):
        scores = simulator.score(history[None], torch.tensor([[[*before, item]]]), target[None])
        log_prob, acceptance = scores.log_prob[0, 0], scores.acceptance[0, 0, -1]
        incoherent = bool(before) and not (WORDS[item] & WORDS[before[-1]]).any()
        found.append(
            (log_prob[-1] - log_prob[-2] + weights.ctr * acceptance.log()).item()
            - weights.coherence * incoherent
        )
    return np.array(found)


@pytest.mark.parametrize("forbid", [[], RULES, ["repeats"], ["history", "target"]])
@pytest.mark.parametrize(("name", "coherent"), [("SASRec", 0.0), ("GRU4Rec", 0.05)])
def test_with_every_item_a_candidate_each_step_takes_the_item_that_gains_most(forbid, name, coherent):
    simulator = random_simulator(N_ITEMS, name)
    simulator.model.double()
    prompts = some_prompts(6, N_ITEMS)
    search = search_on(simulator, rules(1, 3, forbid), 2 * N_ITEMS, ctr=0.9, coherent=coherent, batch_size=4)
    paths = search.paths(prompts)
    for history, target, path in zip(prompts.history, prompts.target, paths.tolist(), strict=True):
        items = [i for i in path if i]
        closed = set(history.tolist()) if "history" in forbid else set()
        if "target" in forbid:
            closed.add(int(target))
        for t in range(3):
            gain = gains(simulator, history, target, items[:t], search.weights)
            gain[list(closed | (set(items[:t]) if "repeats" in forbid else set()))] = -math.inf
            if t < len(items):
                assert items[t] == gain.argmax()
                assert t < 1 or gain.max() > 0
            else:
                assert gain.max() <= 0  # it stopped since nothing gains
                break
    assert len(set((paths != 0).sum(1).tolist())) > 1


def test_the_search_goes_on_to_the_shortest_length_and_stops_at_the_longest():
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(12, N_ITEMS)
    short, long = (search_on(simulator, rules(n, 4), 6).paths(prompts) for n in (1, 3))
    assert {1, 2} <= set((short != 0).sum(1).tolist()) <= {1, 2, 3, 4}
    assert {3} <= set((long != 0).sum(1).tolist()) <= {3, 4}
    for path, longer in zip(short, long, strict=True):
        assert torch.equal(path[path != 0], longer[: int((path != 0).sum())]), "the same path, gone on with"
    assert search_on(simulator, rules(1, 2), 6).paths(prompts).shape == (12, 2)


def test_paths_found_with_few_candidates_keep_the_rules():
    prompts = some_prompts(40, N_ITEMS)
    paths = search_on(random_simulator(N_ITEMS), rules(1, 4), 4, batch_size=7).paths(prompts)
    for history, target, path in zip(
        prompts.history.tolist(), prompts.target.tolist(), paths.tolist(), strict=True
    ):
        items = [i for i in path if i]
        assert len(set(items)) == len(items) >= 1
        assert not set(items) & {*history, target}


@pytest.mark.parametrize("n_candidates", [1, 2, 3])
def test_the_smallest_numbers_of_candidates_the_settings_allow_work(n_candidates):
    paths = search_on(random_simulator(N_ITEMS), rules(1, 2), n_candidates).paths(some_prompts(3, N_ITEMS))
    assert (paths[:, 0] > 0).all()


@pytest.mark.parametrize("kind", [SearchGuide, LookaheadGuide])
@pytest.mark.parametrize("shortest", [2, 3])
def test_a_path_ends_where_no_item_is_left(kind, shortest):
    """Of three items the target and the history's are forbidden: one can be shown."""
    simulator, weights = random_simulator(3), SearchWeights(ctr=1.0, coherence=0.0)
    search = kind(simulator, rules(shortest, 4), 4, weights, WORDS[:4])
    history, target = torch.tensor([[1, 1], [2, 2]]), torch.tensor([2, 3])
    prompts = Prompts(torch.arange(2), torch.tensor([1, 2]), history, target)
    found = search.demonstrations(prompts, 0.3)
    assert found.path.tolist() == [[3, 0, 0, 0], [1, 0, 0, 0]]
    assert found.shares.isfinite().all()


def test_demonstrations_are_the_prompts_with_the_paths_found_for_them():
    prompts = some_prompts(9, N_ITEMS)
    search = search_on(random_simulator(N_ITEMS), rules(1, 4), 6, batch_size=4)
    demonstrations = search.demonstrations(prompts)
    assert torch.equal(demonstrations.path, search.paths(prompts))
    for name in ("number", "user", "history", "target"):
        assert torch.equal(getattr(demonstrations, name), getattr(prompts, name)), name


@pytest.mark.parametrize("temperature", [0.05, 2.0])
def test_alternatives_have_the_softmax_of_their_gains(temperature):
    """With every item a candidate, by scores of whole paths; the stop gains 0 where it is allowed."""
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(6, N_ITEMS)
    simulator.model.double()
    search = search_on(simulator, rules(1, 4), 2 * N_ITEMS, ctr=0.9, coherent=0.05)
    found = search.demonstrations(prompts, temperature)
    assert torch.equal(found.path, search.paths(prompts))
    for row, path in enumerate(found.path.tolist()):
        history, target, items = prompts.history[row], prompts.target[row], [i for i in path if i]
        closed = {*history.tolist(), int(target)}
        for t in range(min(len(items) + 1, 4)):
            gain = gains(simulator, history, target, items[:t], search.weights)
            gain[list(closed | set(items[:t]))] = -math.inf
            gain[0] = 0.0 if t >= 1 else -math.inf  # the stop
            expected = torch.tensor(gain / temperature).softmax(0)
            own = items[t] if t < len(items) else 0
            shares = torch.zeros(N_ITEMS + 1, dtype=torch.float64)
            shares.index_add_(0, found.alternatives[row, t], found.shares[row, t].double())
            assert shares[own] == 0
            shares[own] = 1 - shares.sum()
            torch.testing.assert_close(shares, expected, rtol=0, atol=1e-6)
        assert found.shares[row, len(items) + 1 :].eq(0).all()


@pytest.mark.parametrize("n_candidates", [6, 2 * N_ITEMS])
def test_paths_that_are_followed_are_weighed_as_the_search_weighs_its_own(n_candidates):
    """Along its own path nothing changes but a candidate more, which is the path's own item again."""
    simulator = random_simulator(N_ITEMS, "SASRec")
    simulator.model.double()
    prompts = some_prompts(9, N_ITEMS)
    search = search_on(simulator, rules(1, 4), n_candidates, ctr=0.01, coherent=0.005, batch_size=4)
    own = search.demonstrations(prompts, 0.3)
    followed = search.demonstrations(prompts, 0.3, own.path)
    assert torch.equal(followed.path, own.path)
    assert len(set(own.lengths.tolist())) > 1
    places = torch.arange(4) <= own.lengths[:, None]  # a stop is a choice too
    assert torch.equal(by_item(followed)[places] > 0, by_item(own)[places] > 0)
    torch.testing.assert_close(by_item(followed)[places], by_item(own)[places], rtol=0, atol=1e-6)


def by_item(demonstrations):
    """The shares of the alternatives, [b, t, n+1]."""
    n_rows, width, _ = demonstrations.shares.shape
    none = demonstrations.shares.new_zeros(n_rows, width, N_ITEMS + 1)
    return none.scatter_add(2, demonstrations.alternatives, demonstrations.shares)


def test_at_every_place_of_a_path_that_is_followed_it_is_said_what_the_search_would_take():
    """That is what it weighs first after a history that ends in what has been shown so far."""
    simulator = random_simulator(N_ITEMS, "GRU4Rec")
    simulator.model.double()
    prompts = some_prompts(8, N_ITEMS)
    paths = random_paths(8, 1, 3, N_ITEMS, min_length=3, seed=4)[:, 0]
    search = search_on(simulator, rules(3, 3, ["history", "repeats"]), 2 * N_ITEMS)
    followed = search.demonstrations(prompts, 0.3, paths)
    assert torch.equal(followed.path, paths)
    assert not torch.equal(search.paths(prompts), paths)
    for t in range(3):
        history = torch.cat([prompts.history, paths[:, :t]], dim=1)
        later = Prompts(prompts.number, prompts.user, history, prompts.target)
        rest = torch.nn.functional.pad(paths[:, t:], (0, t))
        weighed = by_item(search.demonstrations(later, 0.3, rest))[:, 0]
        torch.testing.assert_close(by_item(followed)[:, t], weighed)


def test_an_item_that_the_search_did_not_weigh_is_weighed_where_it_is_followed():
    simulator = random_simulator(N_ITEMS, "SASRec")
    simulator.model.double()
    prompts = some_prompts(40, N_ITEMS)
    paths = random_paths(40, 1, 1, N_ITEMS, min_length=1, seed=4)
    few = search_on(simulator, rules(1, 1, []), 2)
    followed = few.demonstrations(prompts, 0.3, paths[:, 0])
    left = 1 - followed.shares.sum(-1)[:, 0]
    for row in range(40):
        gain = gains(simulator, prompts.history[row], prompts.target[row], [], few.weights)
        weighed = [*followed.alternatives[row, 0, :2].tolist(), int(paths[row, 0, 0])]
        expected = np.exp(np.array([gain[item] for item in dict.fromkeys(weighed)]) / 0.3)
        own = math.exp(gain[weighed[-1]] / 0.3) / expected.sum()
        assert left[row].item() == pytest.approx(own, abs=1e-6)


def test_without_a_temperature_there_are_no_alternatives():
    found = search_on(random_simulator(N_ITEMS), rules(1, 4), 6).demonstrations(some_prompts(3, N_ITEMS))
    assert found.alternatives.shape == found.shares.shape == (3, 4, 0)


def test_a_weight_of_coherence_makes_paths_coherent():
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(30, N_ITEMS)
    without, heavy = (search_on(simulator, rules(3, 4), 2 * N_ITEMS, coherent=w) for w in (0.0, 100.0))
    plain, coherent = (
        search.statistics(search.demonstrations(prompts))["coherence"] for search in (without, heavy)
    )
    assert coherent > plain + 0.2


def test_statistics_of_found_paths_are_those_of_each_path():
    simulator = random_simulator(N_ITEMS)
    search = search_on(simulator, rules(1, 4), 8)
    found = search.demonstrations(some_prompts(10, N_ITEMS))
    ioi, ior, ctr = [], [], []
    for history, target, path in zip(found.history, found.target, found.path, strict=True):
        scores = simulator.score(history[None], path[path != 0][None, None], target[None])
        ioi.append((scores.log_prob[0, 0, -1] - scores.log_prob[0, 0, 0]).item())
        ior.append((scores.rank[0, 0, 0] - scores.rank[0, 0, -1]).item())
        ctr.append(scores.acceptance.mean().item())
    expected = {
        "ioi": np.mean(ioi),
        "ior": np.mean(ior),
        "ctr": np.mean(ctr),
        "coherence": coherence(found.path.numpy(), found.target.numpy(), WORDS).mean(),
        "length": found.lengths.double().mean().item(),
    }
    assert search.statistics(found) == pytest.approx(expected, abs=1e-5)


class Counting:
    """A model that counts the states it computes."""

    def __init__(self, model):
        self.model, self.n_states = model, 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def extend(self, items, memory=None):
        self.n_states += items.numel()
        return self.model.extend(items, memory)

    def branch(self, items, memory):
        self.n_states += items.numel()
        return self.model.branch(items, memory)


@pytest.mark.parametrize("n_candidates", [1, 5, 99])
def test_the_states_of_a_path_are_those_that_the_model_computed_for_it(n_candidates):
    simulator, prompts = random_simulator(N_ITEMS), some_prompts(12, N_ITEMS)
    search = search_on(simulator, rules(1, 4), n_candidates)
    search.simulator.model = Counting(simulator.model)
    for row in range(len(prompts)):
        prompt = prompts[row : row + 1]
        search.simulator.model.n_states = 0
        paths = search.paths(prompt)
        assert search.states(prompt, paths).tolist() == [search.simulator.model.n_states]


def test_states_by_hand():
    search = search_on(random_simulator(N_ITEMS), rules(1, 3), 4)
    paths = torch.tensor([[4, 0, 0], [4, 6, 0], [4, 6, 9]])
    # A history of 5, and 4 candidates a step: the item and the stop; two items and the stop; three items.
    assert search.states(some_prompts(3, N_ITEMS), paths).tolist() == [5 + 2 * 4, 5 + 3 * 4, 5 + 3 * 4]
