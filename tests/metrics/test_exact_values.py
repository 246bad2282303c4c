"""Metrics whose last digits can be told: the ends of an interval, and means of float32 scores."""

import numpy as np
import pytest
import torch

from prorl.metrics.intervals import UserBootstrap
from prorl.metrics.judging import judged_metrics
from prorl.prompts import Prompts
from prorl.simulators.protocol import Scores


def test_the_ends_leave_out_a_fortieth_on_either_side():
    """A hundred and one resamples, each of one user alone, whose values are 0 to 100."""
    bootstrap = UserBootstrap(np.eye(101), np.arange(101))
    assert bootstrap.mean(np.arange(101.0)) == pytest.approx({"mean": 50.0, "low": 2.5, "high": 97.5})


class Rounded:
    """Users whose acceptance float32 can only round."""

    n_items = 9

    def score(self, history, path, target, *, ends=False):
        ends = torch.zeros(*path.shape[:2], 2)
        return Scores(log_prob=ends, rank=ends.long(), acceptance=torch.full(path.shape, 0.1) / (1 + path))


def test_acceptance_is_averaged_in_float64():
    items = torch.tensor([[[1, 2, 3, 4, 5, 6, 7]]])
    own = (torch.full((7,), 0.1) / (1 + items[0, 0])).double().numpy()
    one = torch.ones(1, dtype=torch.int64)
    prompts = Prompts(one, one, torch.ones(1, 2, dtype=torch.int64), one)
    words = np.ones((10, 1), dtype=np.uint64)
    judged = judged_metrics(
        ["ctr"], {"one": Rounded()}, prompts, items, words, n_pairs=1, seed=0, batch_size=4
    )
    found = judged["one"]["ctr"]
    assert found[0, 0] == pytest.approx(own.mean(), rel=1e-14)
