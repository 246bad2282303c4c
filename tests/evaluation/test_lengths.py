"""Metrics of the first items of paths are those of paths that end there."""

import numpy as np
import torch

from prorl.evaluation.judge import Judge
from prorl.evaluation.lengths import by_length, means
from tests.tiny_models import random_paths, random_simulator, some_prompts

N_ITEMS, T = 30, 4
WORDS = np.arange(N_ITEMS + 1, dtype=np.uint64)[:, None]


def test_the_first_items_are_judged_as_a_path_of_their_own():
    prompts = some_prompts(12, N_ITEMS)
    judge = Judge(prompts, {"SASRec": random_simulator(N_ITEMS)}, WORDS, T, 20, 5, 0)
    items = random_paths(12, 1, T, N_ITEMS, min_length=1)[:, 0]
    items[3, 1] = -1  # a non-item
    found, steps = by_length(judge, items)
    for t in range(T):
        cut = torch.where(torch.arange(T) <= t, items, 0)
        whole = judge.metrics(cut)["SASRec"]
        there = (items[:, t] != 0).numpy()
        assert there.any()
        for metric, values in found.items():
            np.testing.assert_allclose(values[there, t], whole[metric][there], atol=1e-5, err_msg=metric)
            assert np.isnan(values[~there, t]).all()
    assert {values.shape for values in steps.values()} == {(12, T + 1)}
    assert not np.isnan(steps["rank"][:, 0]).any()
    np.testing.assert_allclose(steps["log_prob"][:, 1:] - steps["log_prob"][:, :1], found["ioi"])
    np.testing.assert_allclose(steps["rank"][:, :1] - steps["rank"][:, 1:], found["ior"])
    assert (steps["rank"][~np.isnan(steps["rank"])] >= 1).all()


def test_means_by_hand():
    nan = np.nan
    values = np.array([[1.0, 2.0, nan], [3.0, nan, nan]])
    assert means({"ioi": values, "ctr": values / 10}) == [
        {"length": 1, "prompts": 2, "ioi": 2.0, "ctr": 0.2},
        {"length": 2, "prompts": 1, "ioi": 2.0, "ctr": 0.2},
    ]
