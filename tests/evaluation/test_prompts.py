"""The prompts guides are judged on, and their greedy paths."""

import numpy as np
import torch

from prorl.evaluation.prompts import JudgedPrompts, greedy_paths
from tests.tiny_models import random_instances

CPU = torch.device("cpu")


def prompts():
    return JudgedPrompts.of(random_instances(6, 20)[0], CPU)


def test_prompts_are_histories_with_their_random_targets():
    instances, _ = random_instances(6, 20)
    judged = JudgedPrompts.of(instances, CPU)
    assert judged.user.tolist() == instances.user.tolist()
    assert judged.history.tolist() == instances.history.tolist()
    assert judged.target.tolist() == instances.random_target.tolist()
    assert judged.target.tolist() != instances.target.tolist()


def test_a_sample_is_drawn_once_each_in_order():
    everything = prompts()
    keys = [tuple(row) for row in torch.cat([everything.history, everything.target[:, None]], dim=1).tolist()]
    part = everything.sample(5, seed=1)
    rows = [keys.index(tuple(row)) for row in torch.cat([part.history, part.target[:, None]], dim=1).tolist()]
    assert len(part) == len(set(rows)) == 5
    assert rows == sorted(rows)
    assert part.user.tolist() == everything.user[rows].tolist()
    assert torch.equal(everything.sample(5, seed=1).history, part.history)
    assert not torch.equal(everything.sample(5, seed=2).history, part.history)
    assert torch.equal(everything.sample(99, seed=1).history, everything.history)


class Echo:
    """Answers with the last item of the history and the target."""

    def __init__(self):
        self.batches = []

    def paths(self, history, target):
        self.batches.append(len(target))
        return torch.stack([history[:, -1], target, 0 * target], dim=1)


def test_greedy_paths_are_the_guides_batch_by_batch():
    guide, judged = Echo(), prompts()
    paths = greedy_paths(guide, judged, 3, 5)
    assert guide.batches == [5, 5, 2]
    np.testing.assert_array_equal(
        paths, torch.stack([judged.history[:, -1], judged.target, 0 * judged.target], dim=1)
    )
