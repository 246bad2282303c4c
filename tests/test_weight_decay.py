"""Which weights decay."""

import torch
from torch import nn

from prorl.training import adamw


def test_parameters_with_a_learning_rate_of_their_own_do_not_decay():
    """Token embeddings are such: each is seen in few batches, and would decay in all of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.5, own_rates={model[0].weight: 0.4})
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    embedding, weight, bias = (parameter.detach() for parameter in model.parameters())
    assert torch.equal(embedding, before[0])
    torch.testing.assert_close(weight, before[1] * (1 - 0.1 * 0.5))
    assert torch.equal(bias, before[2])
