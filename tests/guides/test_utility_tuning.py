"""Weights of a utility chosen for each prompt, and the sweep of fixed ones."""

import itertools
import json

import pytest
import torch

from prorl.config.section import ConfigError
from prorl.guides.utility_tuning import combinations, normalised, path_rewards, self_normalised, utility
from prorl.guides.walks import Candidates
from tests.guides.test_beam import Counting
from tests.guides.worlds import N_ITEMS, context_of, fitted, settings_of, world_of
from tests.tiny_models import some_prompts

PROMPTS = some_prompts(6, N_ITEMS)
SMALL = {
    "n_candidates": 8,
    "hidden_size": 8,
    "steps": 25,
    "batch_size": 16,
    "levels": [0.0, 1.0],
    "logged": 60,
    "swept": 8,
}


def test_combinations_are_all_of_them():
    assert combinations([0.0, 2.0], torch.device("cpu")).tolist() == [
        list(one) for one in itertools.product((0.0, 2.0), repeat=3)
    ]


@pytest.mark.parametrize(("kind", "name"), list(enumerate(("log_acceptance", "near_target", "coherent"))))
def test_one_weight_alone_orders_candidates_by_its_feature(tmp_path, kind, name):
    found: Candidates = world_of(context_of(tmp_path)).start(PROMPTS).candidates
    scores = utility(found, torch.eye(3)[kind].expand(6, 3))
    best = found.feature(name).masked_fill(~found.allowed, -torch.inf).max(1).values
    place = found.best(scores)[:, None]
    assert found.feature(name).gather(1, place)[:, 0].tolist() == pytest.approx(best.tolist())


def test_a_value_is_self_normalised():
    shares, reward = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([1.0, 2.0, 6.0])
    assert self_normalised(shares, reward) == pytest.approx(2.5)
    assert self_normalised(torch.tensor([0.0, 1.0, 0.0]), reward) == pytest.approx(2.0)


def test_rewards_are_normalised_by_the_log_or_by_the_batch():
    reward, mean, deviation = torch.tensor([1.0, 3.0, 30.0]), torch.tensor(2.0), torch.tensor(2.0)
    assert normalised(reward, "standard", mean, deviation).tolist() == [-0.5, 0.5, 3.0]
    assert normalised(reward[:2], "minmax", mean, deviation).tolist() == [0.0, 1.0]


def test_a_paths_reward_is_its_ioi_with_ctr_and_coherence_as_weighed(tmp_path):
    settings = settings_of("utility_tuning", weights={"ctr": 3.0, "coherence": 0.5})
    found = path_rewards(world_of(context_of(tmp_path)), PROMPTS, torch.ones(6, 3), settings)
    expected = found["ioi"] + 3 * found["ctr"] + 0.5 * found["coherence"]
    torch.testing.assert_close(found["reward"], expected)


def test_a_fit_reports_the_sweep_and_both_rewards(tmp_path):
    guide, figures = fitted("utility_tuning", context_of(tmp_path), tmp_path, **SMALL)
    json.dumps(figures)
    assert len(figures["sweep"]) == 8
    best = max(figures["sweep"], key=lambda row: row["reward"])
    assert figures["fixed_weights"] == best["weights"]
    assert 1 <= figures["chosen_combinations"] <= 8
    guide.world.simulator.model = counting = Counting(guide.world.simulator.model)
    paths = guide.paths(PROMPTS)
    assert int(guide.states(PROMPTS, paths).sum()) == counting.states
    assert torch.equal(guide.paths(PROMPTS[3:4]), paths[3:4])


def test_levels_are_different_numbers():
    message = r"guide\.utility_tuning\.levels: got \[1\.0, 1\.0\], allowed: different numbers of at least 0"
    with pytest.raises(ConfigError, match=message):
        settings_of("utility_tuning", levels=[1.0, 1.0])
