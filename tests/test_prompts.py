"""Prompts of instances, mined paths, and prompts with random targets."""

import numpy as np
import torch

from prorl.instances import Instances
from prorl.prompts import Prompts, concatenated, mined, random_prompts
from tests.tiny_models import random_instances


def prompts():
    return Prompts.of(random_instances(6, 20)[0])


def test_prompts_are_those_of_the_instances_numbered_from_zero():
    instances, _ = random_instances(6, 20)
    found = Prompts.of(instances)
    assert found.number.tolist() == list(range(12))
    assert found.user.tolist() == instances.user.tolist()
    assert found.history.tolist() == instances.history.tolist()
    assert found.target.tolist() == instances.random_target.tolist()
    assert {part.dtype for part in (found.number, found.user, found.history, found.target)} == {torch.int64}


def test_a_sample_keeps_order_numbers_and_depends_on_the_seed_alone():
    every = prompts()
    sample = every.sample(5, seed=3)
    assert sample.number.tolist() == sorted(set(sample.number.tolist()))
    assert len(sample) == 5
    assert torch.equal(sample.history, every.history[sample.number])
    assert torch.equal(sample.target, every.target[sample.number])
    assert torch.equal(every.sample(5, seed=3).number, sample.number)
    assert not torch.equal(every.sample(5, seed=4).number, sample.number)


def test_a_sample_of_more_prompts_than_there_are_is_all_of_them():
    assert prompts().sample(99, seed=1).number.tolist() == list(range(12))


def test_mined_paths_are_runs_without_their_target():
    instances = Instances(
        user=np.array([1, 2]),
        history=np.array([[8, 9], [3, 2]], dtype=np.int32),
        run=np.array([[4, 5, 0, 0], [1, 2, 3, 4]], dtype=np.int32),
        length=np.array([2, 4]),
        random_target=None,
    )
    demonstrations = mined(instances, max_length=6)
    assert demonstrations.history.tolist() == [[8, 9], [3, 2]]
    assert demonstrations.target.tolist() == [5, 4]
    assert demonstrations.path.tolist() == [[4, 0, 0, 0, 0, 0], [1, 2, 3, 0, 0, 0]]
    assert demonstrations.lengths.tolist() == [1, 3]
    assert demonstrations.path.dtype == torch.int64
    both = concatenated([demonstrations, demonstrations[torch.tensor([1])]])
    assert both.target.tolist() == [5, 4, 4]


def test_random_prompts_use_all_histories_alike_and_targets_new_to_the_user():
    instances, sequences = random_instances(8, 20)
    prompts = random_prompts(instances, sequences, 20, 40, seed=1)
    owner = {
        tuple(row): user
        for row, user in zip(instances.history.tolist(), instances.user.tolist(), strict=True)
    }
    times = {}
    for row, item in zip(prompts.history.tolist(), prompts.target.tolist(), strict=True):
        times[tuple(row)] = times.get(tuple(row), 0) + 1
        assert item not in sequences.of(owner[tuple(row)])
        assert 1 <= item <= 20
    assert len(times) == len(instances) == 16
    assert set(times.values()) == {2, 3}
    assert prompts.user.tolist() == [owner[tuple(row)] for row in prompts.history.tolist()]
    assert prompts.number.tolist() == list(range(40))
    again = random_prompts(instances, sequences, 20, 40, seed=1)
    assert torch.equal(again.history, prompts.history)
    assert torch.equal(again.target, prompts.target)
    assert not torch.equal(random_prompts(instances, sequences, 20, 40, seed=2).target, prompts.target)
