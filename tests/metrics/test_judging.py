"""The metrics of many paths under a simulator."""

import numpy as np
import pytest
import torch

from prorl.metrics.judging import path_shape_metrics, simulated_metrics
from tests.tiny_models import random_paths, random_prompts, random_simulator

N_ITEMS = 15


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_simulated_metrics_are_those_of_each_path_alone(batch_size):
    simulator = random_simulator(N_ITEMS)
    history, target = random_prompts(4, N_ITEMS)
    items = random_paths(4, 2, 3, N_ITEMS)
    items[1, 0] = 0
    metrics = simulated_metrics(simulator, history, target, items, batch_size)
    for p in range(4):
        for j in range(2):
            path = items[p, j][items[p, j] != 0]
            scores = simulator.score(history[p : p + 1], path[None, None], target[p : p + 1])
            assert metrics["ioi"][p, j] == pytest.approx(
                (scores.log_prob[0, 0, -1] - scores.log_prob[0, 0, 0]).item(), abs=1e-5
            )
            assert metrics["ior"][p, j] == (scores.rank[0, 0, 0] - scores.rank[0, 0, -1]).item()
            assert metrics["ctr"][p, j] == pytest.approx(
                scores.acceptance.mean().item() if len(path) else 0.0, abs=1e-6
            )
    assert all(metrics[name][1, 0] == 0 for name in metrics)


def test_non_items_change_no_simulated_metric():
    simulator = random_simulator(N_ITEMS)
    history, target = random_prompts(1, N_ITEMS)
    found = simulated_metrics(
        simulator, history, target, torch.tensor([[[3, 9, 0, 0], [-1, 3, -1, 9], [-1, -1, 0, 0]]]), 8
    )
    for values in found.values():
        assert values[0, 1] == pytest.approx(values[0, 0])
        assert values[0, 2] == 0


def test_metrics_of_a_paths_shape_are_all_there():
    history, target = (x.numpy() for x in random_prompts(6, N_ITEMS))
    items = random_paths(6, 1, 3, N_ITEMS)[:, 0].numpy()
    words = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
    metrics = path_shape_metrics(history, target, items, np.arange(6), words, 30, 0)
    names = [
        "coherence",
        "error",
        "length",
        "distinct",
        "diversity",
        "repeats",
        "target_in_path",
        "history_in_path",
    ]
    assert list(metrics) == names
    assert all(values.shape == (6,) for values in metrics.values())
    assert metrics["length"].tolist() == (items != 0).sum(1).tolist()
    assert metrics["error"].tolist() == [0.0] * 6


def test_metrics_of_float32_scores_are_float64():
    history, target = random_prompts(2, N_ITEMS)
    metrics = simulated_metrics(random_simulator(N_ITEMS), history, target, random_paths(2, 1, 3, N_ITEMS), 8)
    assert [values.dtype for values in metrics.values()] == [np.float64] * 3
