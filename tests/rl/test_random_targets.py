"""Random targets of training steps."""

import torch

from prorl.rl.rollouts import PromptSource
from tests.tiny_models import random_instances

N_ITEMS = 30


def test_one_prompt_has_another_random_target_at_every_step():
    """With a single instance nothing but the step can tell two draws apart."""
    instances, sequences = random_instances(1, N_ITEMS, per_user=1)
    source = PromptSource(instances, sequences, N_ITEMS, "random", 1, 3)
    targets = [source.at(step, torch.device("cpu")).target.item() for step in range(1, 41)]
    free = set(range(1, N_ITEMS + 1)) - set(sequences.of(instances.user[0]).tolist())
    assert set(targets) <= free
    assert len(set(targets)) > len(free) / 2
