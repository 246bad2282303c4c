"""Step rewards against the metrics of whole paths."""

import numpy as np
import pytest
import torch

from prorl.config.section import ConfigError
from prorl.metrics import path_metrics
from prorl.rl.centering import centered, collected
from prorl.rl.rewards import REWARDS, RatedPaths, Reward, lowest, penalised, repeats, step_rewards
from prorl.simulators.protocol import Scores
from tests.rl.short_runs import a_learner, rated, run
from tests.tiny_models import FINETUNE, random_paths, random_prompts, random_simulator

N_ITEMS = 15
NAMES = ["ctr", "ioi", "ior"]


def test_step_rewards_written_out():
    """One path of two items, one that repeats itself."""
    scores = Scores(
        log_prob=torch.tensor([[[-5.0, -4.0, -4.5, -4.5], [-5.0, -3.0, -3.5, -1.0]]]),
        rank=torch.tensor([[[40, 30, 35, 35], [40, 10, 12, 2]]]),
        acceptance=torch.tensor([[[0.2, 0.6, 0.0], [0.3, 0.7, 0.9]]]),
    )
    rewards = step_rewards(rated(torch.tensor([[[7, 8, 0], [9, 4, 9]]]), scores), NAMES)
    assert rewards.values["ioi"].tolist() == [[[1.0, -0.5, 0.0], [2.0, -0.5, 2.5]]]
    assert rewards.values["ior"].tolist() == [[[10, -5, 0], [30, -2, 10]]]
    torch.testing.assert_close(
        rewards.values["ctr"], torch.tensor([[[0.2, 0.6, 0.0], [0.3, 0.7, 0.0]]])
    )  # the repeat is not accepted
    assert rewards.real.tolist() == [[[True, True, False], [True] * 3]]
    assert rewards.repeated.tolist() == [[[False] * 3, [False, False, True]]]


def test_step_rewards_sum_to_the_metrics_of_the_path():
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    history, target = random_prompts(6, N_ITEMS)
    items = random_paths(6, 4, 5, N_ITEMS)
    items[0, 0] = 0
    scores = simulator.score(history, items, target)
    rewards = step_rewards(rated(items, scores), NAMES)
    log_prob, rank = scores.log_prob.flatten(0, 1).numpy(), scores.rank.flatten(0, 1).numpy()
    np.testing.assert_allclose(
        rewards.values["ioi"].sum(-1).flatten(), path_metrics.increment_of_interest(log_prob), atol=1e-12
    )
    np.testing.assert_array_equal(
        rewards.values["ior"].sum(-1).flatten(), path_metrics.increment_of_rank(rank)
    )
    mean = (rewards.values["ctr"].sum(-1) / rewards.real.sum(-1).clamp(min=1)).flatten().numpy()
    own = np.where(rewards.repeated.flatten(0, 1), 0.0, scores.acceptance.flatten(0, 1))
    np.testing.assert_allclose(mean, path_metrics.feasibility(own, items.flatten(0, 1).numpy()), atol=1e-12)
    for values in rewards.values.values():
        assert values[~rewards.real].eq(0).all()


def test_repeats_are_marked_from_the_second_time_on_and_padding_never():
    assert repeats(torch.tensor([[3, 3, 5, 3, 0, 0, -1, -1]])).tolist() == [
        [False, True, False, True] + [False] * 4
    ]


def test_non_items_move_nobody_and_items_are_rewarded_as_without_them():
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    history, target = random_prompts(1, N_ITEMS)
    items = torch.tensor([[[-1, 3, -1, 5], [3, 5, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]]])
    rewards = step_rewards(rated(items, simulator.score(history, items, target)), NAMES)
    for values in rewards.values.values():
        assert torch.equal(values[0, 0, [1, 3]], values[0, 1, :2])
        assert values[0, 0, [0, 2]].eq(0).all()
        assert values[0, 2:].eq(0).all()
    assert torch.equal(rewards.real, items > 0)
    assert rewards.values["ctr"][0, 0, 3] > 0


def test_non_items_are_worth_less_than_anything_in_the_batch():
    scores = Scores(
        log_prob=torch.tensor([[[-5.0, -4.0, -4.0, -4.5], [-5.0, -3.0, -3.5, -3.5]]]),
        rank=torch.tensor([[[40, 30, 30, 35], [40, 10, 12, 12]]]),
        acceptance=torch.tensor([[[0.2, 0.0, 0.6], [0.3, 0.7, 0.0]]]),
    )
    items = torch.tensor([[[7, -1, 8], [9, 4, 0]]])
    raw = step_rewards(rated(items, scores), NAMES)
    torch.testing.assert_close(lowest(raw), torch.tensor([0.2, -0.5, -5.0]))
    rewards = penalised(raw, items, torch.tensor([0.1, -2.0, -5.0]))  # another process has seen an IoI of -2
    assert rewards.values["ioi"].tolist() == [[[1.0, -3.0, -0.5], [2.0, -0.5, 0.0]]]
    assert rewards.values["ior"].tolist() == [[[10, -6, -5], [30, -2, 0]]]
    torch.testing.assert_close(rewards.values["ctr"], torch.tensor([[[0.2, -1.0, 0.6], [0.3, 0.7, 0.0]]]))
    assert torch.equal(rewards.real, items != 0)


def test_a_batch_of_non_items_alone_has_finite_penalties():
    items = torch.tensor([[[-1, 0]]])
    scores = Scores(torch.full((1, 1, 3), -5.0), torch.full((1, 1, 3), 40), torch.zeros(1, 1, 2))
    raw = step_rewards(rated(items, scores), NAMES)
    rewards = penalised(raw, items, lowest(raw))
    assert [values[0, 0, 0].item() for values in rewards.values.values()] == [-1, -1, -1]


def test_a_weight_of_no_reward_is_an_error():
    message = r"finetune\.weights: got 'fame' \(str\), allowed: ctr, ioi, ior, coherence$"
    with pytest.raises(ConfigError, match=message):
        a_learner(FINETUNE.replace(weights={"ctr": 1.0, "fame": 1.0}))


def unpopular(paths):
    """-1 for each of the most popular items."""
    return -(paths.items <= 8).float()


def values_of(rows):
    return [row["values"] for row in rows]


def test_a_reward_from_outside_the_library(tmp_path, monkeypatch):
    settings = FINETUNE.replace(steps=20, learning_rate=1e-2, n_rollouts=8, centering_steps=2)
    weights = {"ctr": 0.0, "ioi": 0.0, "ior": 0.0, "unpopular": 1.0}
    without = run(tmp_path / "without", settings)
    monkeypatch.setitem(REWARDS, "unpopular", Reward(unpopular))
    _, result, rows = run(tmp_path / "with", settings.replace(weights=weights))
    curve = [values["train/unpopular"] for values in values_of(rows)[1:]]
    assert sum(curve[-5:]) / 5 > sum(curve[:2]) / 2 + 0.3
    assert list(result["centering"]) == ["ctr", "ioi", "ior", "unpopular"]
    assert -1 < result["centering"]["unpopular"]["mean"] < 0
    # Without a weight, or with a weight of 0, it changes nothing.
    for name, weight in {"absent": {}, "zero": {"unpopular": 0.0}}.items():
        again = run(tmp_path / name, settings.replace(weights={**settings.weights, **weight}))
        assert again[1:] == without[1:]
        for key, value in without[0].state_dict().items():
            assert torch.equal(again[0].state_dict()[key], value)


def test_what_non_items_and_repeats_get_is_the_rewards_own_affair(monkeypatch):
    monkeypatch.setitem(
        REWARDS, "constant", Reward(lambda paths: 2.0 + 0 * paths.items, non_item=-7.0, repeat=3.0)
    )
    items = torch.tensor([[[4, -1, 4, 0]]])
    scores = Scores(torch.zeros(1, 1, 5), torch.ones(1, 1, 5), torch.zeros(1, 1, 4))
    raw = step_rewards(rated(items, scores), ["ioi", "constant"])
    assert raw.values["constant"].tolist() == [[[2.0, 0.0, 3.0, 0.0]]]
    rewards = penalised(raw, items, lowest(raw))
    assert rewards.values["constant"].tolist() == [[[2.0, -7.0, 3.0, 0.0]]]
    assert rewards.values["ioi"].tolist() == [[[0.0, -1.0, 0.0, 0.0]]]


def test_coherent_pairs_sum_to_the_coherence_of_the_path():
    items = random_paths(6, 4, 5, N_ITEMS)
    items[0, 0, 3:] = 0
    items[1, 1, 1:] = 0
    items[1, 2] = torch.tensor([3, -1, 5, 0, 0])
    target = torch.arange(1, 7)
    words = np.random.default_rng(1).integers(0, 8, size=(N_ITEMS + 1, 2), dtype=np.uint64)
    words[0] = 0
    scores = Scores(torch.zeros(6, 4, 6), torch.ones(6, 4, 6), torch.zeros(6, 4, 5))
    paths = RatedPaths(items, target, scores, torch.from_numpy(words.view(np.int64)))
    rewards = step_rewards(paths, ["coherence"])
    pairs = rewards.values["coherence"].sum(-1)
    share = path_metrics.coherence(
        items.flatten(0, 1).numpy(), target.repeat_interleave(4).numpy(), words
    ).reshape(6, 4)
    length = (items != 0).sum(-1)
    without_non_items = torch.ones_like(length, dtype=torch.bool)
    without_non_items[1, 2] = False
    np.testing.assert_allclose(
        pairs[without_non_items].numpy(), (share * length.numpy())[without_non_items.numpy()], rtol=1e-6
    )
    assert pairs.max() > 1


def test_a_first_item_is_neither_coherent_nor_counts_in_the_mean():
    words = np.array([0, 1, 1, 2, 1], dtype=np.uint64)[:, None]
    items = torch.tensor([[[1, 2, 3], [3, 1, 0]]])
    scores = Scores(torch.zeros(1, 2, 4), torch.ones(1, 2, 4), torch.zeros(1, 2, 3))
    raw = step_rewards(rated(items, scores, target=4, words=words), ["coherence"])
    assert raw.values["coherence"].tolist() == [[[0, 1, 0], [0, 1, 0]]]
    assert raw.counted("coherence").tolist() == [[[False, True, True], [False, True, False]]]
    moments = collected(raw)
    assert moments["coherence"].mean.item() == pytest.approx(2 / 3)
    values = centered(raw, moments, {"coherence": 1.0}, max_length=1)
    assert values[..., 0].eq(0).all()
    assert values[0, 1, 2] == 0
    assert values[0, 0, 1] > 0 > values[0, 0, 2]
