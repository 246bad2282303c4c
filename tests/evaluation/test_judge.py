"""The greedy paths of a guide."""

import numpy as np
import torch

from prorl.evaluation.judge import greedy_paths
from prorl.prompts import Prompts
from tests.tiny_models import random_instances


class Echo:
    """Answers with the last item of the history and the target."""

    n_items = 20

    def __init__(self):
        self.batches = []

    def paths(self, prompts):
        self.batches.append(len(prompts))
        return torch.stack([prompts.history[:, -1], prompts.target, 0 * prompts.target], dim=1)


def test_greedy_paths_are_the_guides_batch_by_batch():
    guide, prompts = Echo(), Prompts.of(random_instances(6, 20)[0])
    paths = greedy_paths(guide, prompts, 3, 5)
    assert guide.batches == [5, 5, 2]
    expected = torch.stack([prompts.history[:, -1], prompts.target, 0 * prompts.target], dim=1)
    np.testing.assert_array_equal(paths, expected)
