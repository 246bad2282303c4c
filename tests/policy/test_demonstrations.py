"""Mined paths, prompts with random targets, and the search for paths on a simulator."""

import math

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.metrics.path_metrics import coherence
from prorl.policy.demonstrations import Search, mined, random_prompts
from prorl.policy.pretraining import concatenated
from prorl.tables import Instances
from tests.tiny_models import random_instances, random_simulator
from tests.tiny_models import random_prompts as some_prompts

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


def search_on(simulator, decoding, n_candidates, ctr=1.0, coherent=0.0):
    return Search(simulator, decoding, n_candidates, SearchWeights(ctr=ctr, coherence=coherent), WORDS)


def test_mined_paths_are_runs_without_their_target():
    instances = Instances(
        user=np.array([1, 2]),
        history=np.array([[8, 9], [3, 2]], dtype=np.int32),
        run=np.array([[4, 5, 0, 0], [1, 2, 3, 4]], dtype=np.int32),
        length=np.array([2, 4]),
        random_target=None,
    )
    demonstrations = mined(instances, max_length=6)
    assert demonstrations.history.tolist() == [[8, 9], [3, 2]]
    assert demonstrations.target.tolist() == [5, 4]
    assert demonstrations.path.tolist() == [[4, 0, 0, 0, 0, 0], [1, 2, 3, 0, 0, 0]]
    assert demonstrations.lengths.tolist() == [1, 3]
    assert demonstrations.path.dtype == torch.int64
    both = concatenated([demonstrations, demonstrations[torch.tensor([1])]])
    assert both.target.tolist() == [5, 4, 4]


def test_random_prompts_use_all_histories_alike_and_targets_new_to_the_user():
    instances, sequences = random_instances(8, 20)
    history, target = random_prompts(instances, sequences, 20, 40, seed=1)
    owner = {
        tuple(row): user
        for row, user in zip(instances.history.tolist(), instances.user.tolist(), strict=True)
    }
    times = {}
    for row, item in zip(history.tolist(), target.tolist(), strict=True):
        times[tuple(row)] = times.get(tuple(row), 0) + 1
        assert item not in sequences.of(owner[tuple(row)])
        assert 1 <= item <= 20
    assert len(times) == len(instances) == 16
    assert set(times.values()) == {2, 3}
    again = random_prompts(instances, sequences, 20, 40, seed=1)
    assert torch.equal(again[0], history)
    assert torch.equal(again[1], target)
    assert not torch.equal(random_prompts(instances, sequences, 20, 40, seed=2)[1], target)


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
    history, target = some_prompts(6, N_ITEMS)
    search = search_on(
        simulator,
        Decoding(constrained=True, forbid=forbid, min_length=1, max_length=3),
        2 * N_ITEMS,
        ctr=0.9,
        coherent=coherent,
    )
    found = search.paths(history, target, 60, batch_size=4)
    assert torch.equal(found.history, history)
    assert torch.equal(found.target, target)
    for h, g, path in zip(history, target, found.path.tolist(), strict=True):
        items = [i for i in path if i]
        closed = (set(h.tolist()) if "history" in forbid else set()) | (
            {int(g)} if "target" in forbid else set()
        )
        for t in range(3):
            gain = gains(simulator, h, g, items[:t], search.weights)
            gain[list(closed | (set(items[:t]) if "repeats" in forbid else set()))] = -math.inf
            if t < len(items):
                assert items[t] == gain.argmax()
                assert t < 1 or gain.max() > 0
            else:
                assert gain.max() <= 0  # it stopped since nothing gains
                break
    assert len(set(found.lengths.tolist())) > 1


def test_the_search_goes_on_to_the_shortest_length_and_stops_at_the_longest():
    simulator = random_simulator(N_ITEMS)
    history, target = some_prompts(12, N_ITEMS)
    short, long = (
        search_on(simulator, Decoding(True, RULES, n, max_length=4), 6).paths(history, target, 60)
        for n in (1, 3)
    )
    assert {1, 2} <= set(short.lengths.tolist()) <= {1, 2, 3, 4}
    assert {3} <= set(long.lengths.tolist()) <= {3, 4}
    for path, longer in zip(short.path, long.path, strict=True):
        assert torch.equal(path[path != 0], longer[: int((path != 0).sum())]), "the same path, gone on with"
    assert search_on(
        simulator, Decoding(constrained=True, forbid=RULES, min_length=1, max_length=2), 6
    ).paths(history, target, 60).path.shape == (12, 2)


def test_paths_found_with_few_candidates_keep_the_rules():
    history, target = some_prompts(40, N_ITEMS)
    search = search_on(
        random_simulator(N_ITEMS), Decoding(constrained=True, forbid=RULES, min_length=1, max_length=4), 4
    )
    found = search.paths(history, target, 60, batch_size=7)
    for h, g, path in zip(history.tolist(), target.tolist(), found.path.tolist(), strict=True):
        items = [i for i in path if i]
        assert len(set(items)) == len(items) >= 1
        assert not set(items) & {*h, g}


@pytest.mark.parametrize("n_candidates", [1, 2, 3])
def test_the_smallest_numbers_of_candidates_the_settings_allow_work(n_candidates):
    history, target = some_prompts(3, N_ITEMS)
    found = search_on(
        random_simulator(N_ITEMS),
        Decoding(constrained=True, forbid=RULES, min_length=1, max_length=2),
        n_candidates,
    ).paths(history, target, 60)
    assert (found.lengths >= 1).all()


def test_a_weight_of_coherence_makes_paths_coherent():
    simulator = random_simulator(N_ITEMS)
    history, target = some_prompts(30, N_ITEMS)
    decoding = Decoding(constrained=True, forbid=RULES, min_length=3, max_length=4)
    without, heavy = (search_on(simulator, decoding, 2 * N_ITEMS, coherent=weight) for weight in (0.0, 100.0))
    plain, coherent = (
        search.statistics(search.paths(history, target, 60))["coherence"] for search in (without, heavy)
    )
    assert coherent > plain + 0.2


def test_statistics_of_found_paths_are_those_of_each_path():
    simulator = random_simulator(N_ITEMS)
    history, target = some_prompts(10, N_ITEMS)
    search = search_on(simulator, Decoding(constrained=True, forbid=RULES, min_length=1, max_length=4), 8)
    found = search.paths(history, target, 60)
    ioi, ior, ctr = [], [], []
    for h, g, path in zip(history, target, found.path, strict=True):
        scores = simulator.score(h[None], path[path != 0][None, None], g[None])
        ioi.append((scores.log_prob[0, 0, -1] - scores.log_prob[0, 0, 0]).item())
        ior.append((scores.rank[0, 0, 0] - scores.rank[0, 0, -1]).item())
        ctr.append(scores.acceptance.mean().item())
    expected = {
        "paths": 10,
        "ioi": np.mean(ioi),
        "ior": np.mean(ior),
        "ctr": np.mean(ctr),
        "coherence": coherence(found.path.numpy(), target.numpy(), WORDS).mean(),
        "length": found.lengths.double().mean().item(),
    }
    assert search.statistics(found) == pytest.approx(expected, abs=1e-5)
