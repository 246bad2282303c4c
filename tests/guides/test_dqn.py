"""Q-learning in sessions: targets by hand, the leave model, the replay, and a fit that may be killed."""

import json

import pytest
import torch
from torch import nn

from prorl.curves import Curves
from prorl.guides import dqn
from prorl.guides.dqn import LOGIT, QNetwork, bootstrapped, explored, leaving
from prorl.guides.features import new_network
from prorl.guides.replay import Replay, follow
from prorl.guides.walks import FEATURES
from tests.guides.worlds import N_ITEMS, context_of, fitted, settings_of, world_of
from tests.tiny_models import Killed, killed_at, some_prompts

SMALL = {
    "n_candidates": 8,
    "hidden_size": 8,
    "steps": 7,
    "batch_size": 4,
    "replay": 50,
    "update_size": 16,
    "learning_rate": 1e-2,
}


class Column(nn.Module):
    """Q as one of two columns of the features."""

    def __init__(self, column):
        super().__init__()
        self.column = column

    def forward(self, x):
        return x[..., self.column]


def test_the_online_network_chooses_what_the_target_network_values_and_nothing_comes_after_an_end():
    rows = {
        # three candidates; the online network sees the first column, the target network the second
        "next": torch.tensor([[[1.0, 10.0], [3.0, 20.0], [9.0, 30.0]]] * 3),
        "allowed": torch.tensor([[True, True, False], [True, True, True], [True, True, True]]),
        "reward": torch.tensor([0.5, 0.5, 0.5]),
        "done": torch.tensor([False, False, True]),
    }
    assert bootstrapped(Column(0), Column(1), rows, 0.75).tolist() == [0.5 + 0.75 * 20, 0.5 + 0.75 * 30, 0.5]


def test_at_first_items_are_in_the_order_of_the_simulator(tmp_path):
    context = context_of(tmp_path)
    network = QNetwork(new_network(len(FEATURES), 8, 1, context, "residual"))
    x = torch.randn(5, 7, len(FEATURES), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), 0.1 * x[..., LOGIT])


def test_users_leave_after_the_second_refusal_as_likely_as_they_refused():
    n = 20000
    acceptance, generator = torch.full((n,), 0.6), torch.Generator().manual_seed(0)
    for refusals, share in ((0, 0.0), (1, 0.16), (4, 0.16)):
        refuses, leaves = leaving(acceptance, torch.full((n,), refusals), 2, generator)
        assert float(refuses.double().mean()) == pytest.approx(0.4, abs=0.015)
        assert float(leaves.double().mean()) == pytest.approx(share, abs=0.01)
        assert not (leaves & ~refuses).any()
    assert not leaving(acceptance, torch.full((n,), 4), None, generator)[1].any()
    assert not leaving(torch.ones(n), torch.full((n,), 4), 1, generator)[0].any()


def test_exploration_draws_from_the_best_that_are_allowed(tmp_path):
    found = world_of(context_of(tmp_path)).start(
        some_prompts(1, N_ITEMS)[torch.zeros(400, dtype=torch.int64)]
    )
    candidates, settings = found.candidates, settings_of("dqn", top=2, temperature=1.0)
    n = candidates.items.shape[1]
    q = torch.arange(n).float().expand(400, n)
    allowed = candidates.allowed[0].nonzero()[:, 0].tolist()
    places = explored(q, candidates, 1.0, settings, torch.Generator().manual_seed(0))
    assert set(places.tolist()) == set(allowed[-2:])
    assert set(explored(q, candidates, 0.0, settings, torch.Generator()).tolist()) == {allowed[-1]}


def test_a_replay_holds_the_last_rows():
    replay = Replay(4)
    for first in (0, 3):
        replay.add({"x": torch.arange(first, first + 3).float()})
    assert sorted(replay.columns["x"].tolist()) == [2, 3, 4, 5]
    replay.add({"x": torch.arange(10, 16).float()})
    assert sorted(replay.columns["x"].tolist()) == [12, 13, 14, 15]
    assert len(replay) == 4
    assert set(replay.sample(50, torch.Generator().manual_seed(0))["x"].tolist()) == {12, 13, 14, 15}


def test_a_target_network_goes_a_share_of_the_way():
    target, online = nn.Linear(2, 1), nn.Linear(2, 1)
    expected = [0.75 * a + 0.25 * b for a, b in zip(target.parameters(), online.parameters(), strict=True)]
    follow(target, online, 0.25)
    for own, other in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(own, other)


def test_a_fit_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(dqn, "JUDGED_EVERY", 3)

    def fit(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "guide" / "fitted.safetensors").unlink(missing_ok=True)
        if (folder / "guide").exists():
            (folder / "guide").rmdir()
        return fitted("dqn", context_of(folder), folder, **SMALL)

    guide, figures = fit("whole")
    json.dumps(figures)
    assert figures["best_step"] in (3, 6, 7)
    with monkeypatch.context() as killed:
        killed.setattr(Curves, "log", killed_at(6, Curves.log))
        with pytest.raises(Killed):
            fit("killed")
    again, resumed = fit("killed")
    assert resumed == figures
    prompts = some_prompts(8, N_ITEMS)
    assert torch.equal(again.paths(prompts), guide.paths(prompts))
    assert guide.states(prompts, guide.paths(prompts)).tolist() == [prompts.history.shape[1] + 4] * 8
