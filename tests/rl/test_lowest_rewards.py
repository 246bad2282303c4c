"""The lowest rewards of a batch, below which non-items are worth: those of items alone."""

import torch

from prorl.rl.rewards import StepRewards, lowest, penalised


def test_padding_and_non_items_are_not_the_lowest():
    """All items raise interest and rank; what is no item has a reward of 0, or of anything."""
    rewards = StepRewards(
        {
            "ioi": torch.tensor([[[1.0, 0.5, 0.0], [2.0, -9.0, 3.0]]]),
            "ior": torch.tensor([[[10.0, 7.0, 0.0], [20.0, -99.0, 8.0]]]),
        },
        real=torch.tensor([[[True, True, False], [True, False, True]]]),
        repeated=torch.zeros(1, 2, 3, dtype=torch.bool),
    )
    assert lowest(rewards).tolist() == [0.5, 7.0]


def test_repeats_are_not_the_lowest_either():
    rewards = StepRewards(
        {"ioi": torch.tensor([[[1.0, -4.0, 0.5]]]), "ior": torch.tensor([[[3.0, -40.0, 7.0]]])},
        real=torch.tensor([[[True, True, True]]]),
        repeated=torch.tensor([[[False, True, False]]]),
    )
    assert lowest(rewards).tolist() == [0.5, 3.0]
    items = torch.tensor([[[3, 3, -1]]])
    below = penalised(rewards, items, lowest(rewards))
    assert below.values["ioi"].tolist() == [[[1.0, -4.0, -0.5]]]
    assert below.values["ior"].tolist() == [[[3.0, -40.0, 2.0]]]
