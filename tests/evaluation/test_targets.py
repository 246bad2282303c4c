"""Targets at percentiles of a simulator's ranking, against brute force."""

import math

import pytest
import torch

from prorl.errors import DataError
from prorl.evaluation import targets
from prorl.evaluation.targets import percentile_targets
from prorl.prompts import Prompts
from tests.tiny_models import prompts_of, random_instances, random_simulator, sequences_of

N_ITEMS = 30


@pytest.mark.parametrize("scores_at_once", [1, 7 * N_ITEMS, 2**24])
def test_targets_are_those_of_brute_force(monkeypatch, scores_at_once):
    monkeypatch.setattr(targets, "SCORES_AT_ONCE", scores_at_once)
    instances, sequences = random_instances(9, N_ITEMS)
    simulator = random_simulator(N_ITEMS)
    prompts = Prompts.of(instances)
    history = prompts.history
    found = percentile_targets(simulator, prompts, sequences, [1, 20, 60, 100])
    assert list(found) == ["target@1", "target@20", "target@60", "target@100"]
    for prompt, user in enumerate(instances.user):
        free = sorted(set(range(1, N_ITEMS + 1)) - set(sequences.of(user).tolist()))
        scores = simulator.score(
            history[prompt][None].expand(len(free), -1),
            torch.zeros(len(free), 1, 1).long(),
            torch.tensor(free),
        )
        ranked = [free[i] for i in scores.log_prob[:, 0, 0].argsort(descending=True).tolist()]
        assert [target[prompt].item() for target in found.values()] == [
            ranked[math.ceil(q / 100 * len(free) - 1e-9) - 1] for q in (1, 20, 60, 100)
        ]
    assert len(found["target@1"].unique()) > 1


def test_a_user_who_had_everything_is_an_error():
    prompts = prompts_of(torch.tensor([[1, 2, 3, 1, 2], [1, 2, 1, 2, 1]]), torch.tensor([1, 2]))
    with pytest.raises(DataError, match="user 2 interacted with all 3 items"):
        percentile_targets(random_simulator(3), prompts, sequences_of([1, 2], [1, 2, 3]), [50])


def test_of_a_user_beyond_the_sequences_the_history_alone_is_known():
    """Imported prompts may be of users that nobody could name."""
    sequences = sequences_of([1, 2], [3, 4])
    prompts = prompts_of(torch.tensor([[1, 2], [3, 4], [5, 1]]), torch.tensor([6, 6, 6]))
    simulator = random_simulator(6)
    [target] = percentile_targets(simulator, prompts, sequences, [100]).values()
    assert prompts.user.tolist() == [1, 2, 3]
    scores = simulator.item_scores(prompts.history)
    for prompt, met in enumerate(([1, 2], [3, 4], [1, 5])):
        free = [item for item in range(1, 7) if item not in met]
        assert target[prompt] == min(free, key=lambda item: scores[prompt, item - 1])
