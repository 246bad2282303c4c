"""Paths of which only what is accepted enters the history, by hand and against all ways a visit may go."""

import itertools

import numpy as np
import pytest
import torch

from prorl.config.evaluate import Boredom, Evaluate, Leave, Rejection
from prorl.evaluation import rejection
from prorl.evaluation.rejection import rejection_metrics
from prorl.metrics.judging import judged_metrics
from prorl.simulators.protocol import Scores
from prorl.simulators.registry import SIMULATORS
from prorl.simulators.scoring import simulator_of
from tests.tiny_models import PARAMS, prompts_of, random_paths, random_prompts, recbole_model

N_ITEMS = 20
EXACT = Rejection(draws=None, boredom=None, leave=None)
BORED = Boredom(window=2, more_than=1, steps=2, decay=0.5)
NONE = np.zeros((N_ITEMS + 1, 1), dtype=np.uint64)


class Table:
    """Accepts every item with the chance of its own, whatever was before; each item after the third of the
    history adds its number to log P(target).
    """

    n_items = N_ITEMS

    def __init__(self, chances):
        self.chances = torch.zeros(N_ITEMS + 1)
        for item, chance in chances.items():
            self.chances[item] = chance

    def score(self, history, path, target, *, ends=False):
        before = history[:, None, 3:].sum(-1, keepdim=True).expand(*path.shape[:2], 1)
        log_prob = torch.cat([before, before + path.sum(-1, keepdim=True)], dim=-1).double()
        return Scores(log_prob, torch.ones_like(log_prob).long(), self.chances[path] * (path > 0))


def judged(simulator, paths, settings=EXACT, words=NONE, seed=5, batch_size=64, prompts=None):
    items = torch.tensor(paths) if isinstance(paths, list) else paths
    if prompts is None:
        prompts = prompts_of(*random_prompts(len(items), N_ITEMS, 3))
    found = rejection_metrics(
        {"users": simulator}, prompts, items, words, settings, seed=seed, batch_size=batch_size
    )
    return {metric: values.tolist() for metric, values in found["users"].items()}


def patterns(simulator, history, target, path):
    """IoI and CTR of one path as the mean over all its 2^t patterns of acceptance, each item asked for by
    itself.
    """
    items = [item for item in path.tolist() if item > 0]

    def read(accepted, item):
        scores = simulator.score(history[None], torch.tensor([[[*accepted, item]]]), target[None], ends=False)
        return scores.acceptance[0, 0, len(accepted)].item(), scores.log_prob[0, 0].tolist()

    ioi = ctr = total = 0.0
    for pattern in itertools.product((True, False), repeat=len(items)):
        chance, accepted, log_prob = 1.0, [], None
        for item, taken in zip(items, pattern, strict=True):
            own, reached = read(accepted, item)
            log_prob = log_prob or [reached[0], reached[0]]
            chance *= own if taken else 1 - own
            if taken:
                accepted.append(item)
                log_prob[1] = reached[len(accepted)]
        total += chance
        ioi += chance * (log_prob[1] - log_prob[0] if log_prob else 0.0)
        ctr += chance * len(accepted) / max(len(items), 1)
    assert total == pytest.approx(1.0)
    return ioi, ctr


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_expectation_is_the_mean_over_all_patterns_of_acceptance(name):
    simulator = simulator_of(recbole_model(name, N_ITEMS, 12).double())
    history, target = random_prompts(4, N_ITEMS, 4)
    paths = random_paths(4, 1, 4, N_ITEMS, min_length=2)[:, 0]
    paths[0] = torch.tensor([7, -1, 9, 0])
    paths[1] = 0
    found = judged(simulator, paths, prompts=prompts_of(history, target), batch_size=3)
    expected = [patterns(simulator, *parts) for parts in zip(history, target, paths, strict=True)]
    assert found["ioi"] == pytest.approx([ioi for ioi, _ in expected], abs=1e-9)
    assert found["ctr"] == pytest.approx([ctr for _, ctr in expected], abs=1e-9)
    assert found.keys() == {"ioi", "ctr"}
    assert found["ioi"][1] == found["ctr"][1] == 0, "an empty path"


def test_two_items_by_hand():
    """Of 3 (.5) and 4 (.25): both 1/8, 3 alone 3/8, 4 alone 1/8, so 7/8 + 9/8 + 4/8 and 3/8 of them."""
    found = judged(Table({3: 0.5, 4: 0.25}), [[3, 4, 0]])
    assert found == {"ioi": [2.5], "ctr": [0.375]}


class Accepting:
    """A simulator whose users accept everything."""

    def __init__(self, simulator):
        self.simulator, self.n_items = simulator, simulator.n_items

    def score(self, history, path, target, *, ends=False):
        scores = self.simulator.score(history, path, target, ends=ends)
        return Scores(scores.log_prob, scores.rank, (path > 0).double())


@pytest.mark.parametrize("draws", [None, 3])
def test_where_everything_is_accepted_it_is_the_usual_judgement(draws):
    simulator = Accepting(simulator_of(recbole_model("GRU4Rec", N_ITEMS, 12).double()))
    prompts = prompts_of(*random_prompts(6, N_ITEMS, 4))
    paths = random_paths(6, 1, 5, N_ITEMS)[:, 0]
    paths[2, 0] = -1
    found = judged(simulator, paths, EXACT.replace(draws=draws), prompts=prompts)
    usual = judged_metrics(
        ["ioi", "ctr"], {"users": simulator}, prompts, paths[:, None], NONE, n_pairs=1, seed=0, batch_size=64
    )["users"]
    assert found["ioi"] == pytest.approx(usual["ioi"][:, 0].tolist(), abs=1e-12)
    assert found["ctr"] == pytest.approx(usual["ctr"][:, 0].tolist(), abs=1e-12)
    assert max(found["ctr"]) == 1


def test_draws_by_hand(monkeypatch):
    """Two draws of a path: the first accepts 3 and 5, the second 4 alone; CTR is by the chances."""
    uniforms = torch.tensor([[[0.1, 0.9, 0.1], [0.9, 0.2, 0.9]]])
    monkeypatch.setattr(
        rejection, "keyed_uniforms", lambda *_: torch.cat([uniforms, torch.ones_like(uniforms)], dim=2)
    )
    found = judged(Table({3: 0.5, 4: 0.25, 5: 0.75}), [[3, 4, 5]], EXACT.replace(draws=2))
    assert found == {"ioi": [(8 + 4) / 2], "ctr": [0.5]}


def test_many_draws_come_near_the_expectation_and_depend_on_no_batch():
    simulator = simulator_of(recbole_model("GRU4Rec", N_ITEMS, 12).double())
    prompts = prompts_of(*random_prompts(3, N_ITEMS, 4))
    paths = random_paths(3, 1, 3, N_ITEMS, min_length=3)[:, 0]
    settings = EXACT.replace(
        boredom=Boredom(window=3, more_than=0, steps=2, decay=0.6), leave=Leave(rejections=1, probability=0.5)
    )
    words = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
    exact = judged(simulator, paths, settings, words, prompts=prompts)
    drawn = [
        judged(simulator, paths, settings.replace(draws=2000), words, prompts=prompts, batch_size=batch_size)
        for batch_size in (7, 4096)
    ]
    assert exact.keys() == {"ioi", "ctr", "stay"}
    for metric, values in exact.items():
        assert drawn[0][metric] == pytest.approx(drawn[1][metric], abs=1e-12)
        assert drawn[0][metric] == pytest.approx(values, abs=0.06)
        assert drawn[0][metric] != pytest.approx(values, abs=1e-9)
    other = judged(simulator, paths, settings.replace(draws=2000), words, seed=6, prompts=prompts)
    assert other["ioi"] != drawn[0]["ioi"]


def test_boredom_by_hand():
    """Items 1 to 4 share an attribute. After 1 and 2 were accepted, 3 and 4 are accepted half as often; 5 has
    another attribute and is not.
    """
    words = np.zeros((N_ITEMS + 1, 1), dtype=np.uint64)
    words[[1, 2, 3, 4, 6]], words[5] = 1, 2
    settings = EXACT.replace(boredom=BORED)
    users = Table({1: 1.0, 2: 1.0, 3: 0.5, 4: 0.5, 5: 0.5, 6: 1.0})
    assert judged(users, [[1, 2, 3, 0]], settings, words)["ioi"] == [3 + 0.25 * 3]
    assert judged(users, [[1, 2, 5, 0]], settings, words)["ioi"] == [3 + 0.5 * 5]
    # 6 comes when boredom is over, unless 3 or 4 bored anew.
    after = 0.25 * (3 + 0.25 * 4 + 0.5 * 6) + 0.75 * (0.25 * 4 + 6 - 0.25 * 0.5 * 6)
    found = judged(users, [[1, 2, 3, 4, 6]], settings, words)["ioi"]
    assert found == [pytest.approx(3 + after)]
    assert judged(users, [[1, 2, 3, 0]], EXACT, words)["ioi"] == [3 + 0.5 * 3]


def test_leaving_by_hand():
    """Who leaves after two rejections in a row does not see 5, with .75 * .5, and does not accept it."""
    users = Table({3: 0.25, 4: 0.5, 5: 1.0})
    settings = EXACT.replace(leave=Leave(rejections=2, probability=1.0))
    found = judged(users, [[3, 4, 5]], settings)
    assert found["stay"] == [3 - 0.375]
    assert found["ctr"] == [(0.25 + 0.5 + 0.625) / 3]
    assert found["ioi"] == [0.25 * 3 + 0.5 * 4 + 0.625 * 5]
    half = judged(users, [[3, 4, 5]], EXACT.replace(leave=Leave(rejections=2, probability=0.5)))
    assert half["stay"] == [3 - 0.375 / 2]
    once = judged(users, [[3, 4, 5]], EXACT.replace(leave=Leave(rejections=1, probability=1.0)))
    assert once["stay"] == [1 + 0.25 + 0.125]
    between = judged(users, [[4, 5, 4, 5]], settings)
    assert between["stay"] == [4], "an item that is accepted between two rejections keeps the user"


def test_the_same_ways_are_asked_for_once():
    asked = []

    class Counting(Table):
        def score(self, history, path, target, *, ends=False):
            asked.append(len(path))
            return super().score(history, path, target, ends=ends)

    judged(Counting({3: 1.0, 4: 0.5, 5: 0.5}), [[3, 4, 5]], EXACT.replace(draws=50))
    assert sum(asked) == 1 + 1 + 2


def test_mistakes_in_its_settings_are_one_line_each():
    values = PARAMS.section(Evaluate)
    assert values.rejection is None
    given = {"draws": 0, "boredom": None, "leave": {"rejections": 1, "probability": 0.0}}
    raw = {**PARAMS.raw, "evaluate": {**PARAMS.raw["evaluate"], "rejection": given}}
    assert type(PARAMS)(PARAMS.heads, raw, "params.yaml").mistakes(Evaluate) == [
        "params.yaml: evaluate.rejection.draws: got 0 (int), allowed: a number at least 1",
        "params.yaml: evaluate.rejection.leave.probability: got 0.0 (float), "
        "allowed: a number above 0 and at most 1",
    ]
