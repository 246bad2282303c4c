"""The prompts of each step, and what is drawn for them."""

from dataclasses import replace

import pytest
import torch

from prorl.rl.rollouts import PromptSource, draw
from tests.tiny_models import (
    prompts_of,
    random_catalogue,
    random_instances,
    random_policy,
    random_prompts,
)

N_ITEMS = 30
CPU = torch.device("cpu")


def source(targets="random", per_step=5, seed=3):
    instances, sequences = random_instances(11, N_ITEMS)
    return PromptSource(instances, sequences, N_ITEMS, targets, per_step, seed)


def test_an_epoch_is_one_pass_over_all_prompts_in_a_new_order():
    prompts = source()
    assert len(prompts.instances) == 22
    assert prompts.steps_per_epoch == 5
    epochs = [
        torch.cat([prompts.at(step, CPU).number for step in range(first, first + 5)]).tolist()
        for first in (1, 6)
    ]
    assert [sorted(epoch) for epoch in epochs] == [list(range(22))] * 2
    assert epochs[0] != epochs[1]


def test_the_steps_of_an_epoch_are_alike():
    """No step is so small that one of several processes would have none of its prompts."""
    assert [len(source(per_step=21).at(step, CPU)) for step in (1, 2, 3)] == [11, 11, 11]
    assert [len(source(per_step=5).at(step, CPU)) for step in range(1, 6)] == [5, 5, 4, 4, 4]


def test_a_step_has_the_same_prompts_whenever_it_is_asked_for_and_others_with_another_seed():
    first, again, other = source().at(7, CPU), source().at(7, CPU), source(seed=4).at(7, CPU)
    assert torch.equal(first.number, again.number)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.number, other.number)


@pytest.mark.parametrize("targets", ["mined", "random", "mixed"])
def test_targets(targets):
    prompts = source(targets)
    instances, sequences = prompts.instances, prompts.sequences
    mined = 0
    for step in range(1, 6):
        batch = prompts.at(step, CPU)
        for place, (number, user, history, target) in enumerate(
            zip(batch.number, batch.user, batch.history, batch.target, strict=True)
        ):
            assert user == instances.user[number]
            assert history.tolist() == instances.history[number].tolist()
            if targets == "mined" or (targets == "mixed" and place % 2 == 0):
                assert target == instances.target[number]
                mined += 1
            else:
                assert target not in sequences.of(instances.user[number])
    assert mined == {"mined": 22, "random": 0, "mixed": 12}[targets]


def test_random_targets_are_drawn_anew_every_epoch():
    prompts = source(per_step=22)
    first, second = (
        dict(zip(b.number.tolist(), b.target.tolist(), strict=True))
        for b in (prompts.at(1, CPU), prompts.at(2, CPU))
    )
    assert sum(first[number] != second[number] for number in first) > 15


def test_what_is_drawn_for_a_prompt_does_not_depend_on_the_others():
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats"])
    policy = random_policy(catalogue).double()
    prompts = replace(prompts_of(*random_prompts(3, N_ITEMS)), number=torch.tensor([9, 4, 6]))
    paths = draw(policy, catalogue, prompts, 5, 1.0, seed=1)
    alone = draw(policy, catalogue, prompts[1:2], 5, 1.0, seed=1)
    assert torch.equal(alone.items, paths.items[1:2])
    torch.testing.assert_close(alone.log_prob, paths.log_prob[1:2], rtol=0, atol=1e-12)
    assert not torch.equal(draw(policy, catalogue, prompts, 5, 1.0, seed=2).items, paths.items)
