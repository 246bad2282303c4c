"""Muon beside `torch.optim.Muon`, and what of a network it leaves to AdamW."""

import copy

import pytest
import torch
from torch import nn

from prorl.checkpoint import pack, unpack
from prorl.optimizers import OPTIMIZERS, STEP_SIZE, muon, orthogonalised
from prorl.training import adamw, scale_learning_rate


@pytest.fixture
def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Embedding(64, 16), nn.Linear(16, 40), nn.LayerNorm(40), nn.Linear(40, 16))


def learn(network, optimizer, n_steps, seed=0):
    """Steps towards outputs drawn with `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        wanted = torch.randn(64, 16, generator=generator)
        (network(torch.arange(64)) - wanted).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("shape", [(5, 40, 16), (5, 16, 40), (2, 16, 16)])
def test_orthogonalised_matrices_are_nearly_orthogonal_and_nearest(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.01
    found = orthogonalised(matrices)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    well_away = values > 0.02 * values[:, :1]
    found_values = (left.mT @ found @ right.mT).diagonal(dim1=1, dim2=2)
    assert found_values[well_away].min() > 0.6
    assert found_values[well_away].max() < 1.3
    torch.testing.assert_close(left @ found_values.diag_embed() @ right, found, atol=1e-4, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert orthogonalised(torch.zeros(2, 3, 5)).eq(0).all()


def test_takes_the_steps_of_torchs_own(network):
    """Which computes in bf16: the directions agree as far as those eight bits allow."""
    other = copy.deepcopy(network)
    ours = muon(network, 0.02, 0.1)
    matrices = [other[1].weight, other[3].weight]
    rest = [p for p in other.parameters() if all(p is not matrix for matrix in matrices)]
    theirs = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    of_the_rest = torch.optim.AdamW(rest, lr=0.02, weight_decay=0.0)
    start = network[1].weight.detach().clone()
    learn(network, ours, 3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        wanted = torch.randn(64, 16, generator=generator)
        (other(torch.arange(64)) - wanted).square().mean().backward()
        theirs.step()
        of_the_rest.step()
        other.zero_grad()
    for own, its in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, its, atol=3e-3, rtol=0)
    moved = network[1].weight - start, other[1].weight - start
    assert torch.cosine_similarity(*(part.flatten() for part in moved), dim=0) > 0.99


def test_a_steps_entries_have_the_size_of_adamws(network):
    before = network[1].weight.detach().clone()
    learn(network, muon(network, 0.01, 0.0), 1)
    size = (network[1].weight - before).square().mean().sqrt().item()
    assert size == pytest.approx(STEP_SIZE * 0.01, rel=0.25)


def test_embeddings_vectors_and_those_with_a_rate_of_their_own_are_adamws(network):
    other = copy.deepcopy(network)
    learn(network, muon(network, 0.01, 0.5, {network[3].weight: 0.3}), 1)
    learn(other, adamw(other, 0.01, 0.0, {other[3].weight: 0.3}), 1)
    for (name, own), its in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(own, its) == (name != "1.weight"), name


def test_only_matrices_decay(network):
    optimizer = muon(network, 0.1, 0.5, {network[3].weight: 0.3})
    scale_learning_rate(optimizer, 0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer.step()
    for name, parameter in network.named_parameters():
        kept = 1 - 0.05 * 0.5 if name == "1.weight" else 1.0
        torch.testing.assert_close(parameter, before[name] * kept)


def test_parameters_without_a_gradient_stay(network):
    optimizer = muon(network, 0.1, 0.5)
    before = network[3].weight.detach().clone()
    network[1](network[0](torch.arange(64))).sum().backward()
    optimizer.step()
    assert torch.equal(network[3].weight, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_put_back_goes_on_to_the_same_bit(network, name):
    optimizer = OPTIMIZERS[name](network, 0.01, 0.1)
    learn(network, optimizer, 2, seed=1)
    other = copy.deepcopy(network)
    of_the_other = OPTIMIZERS[name](other, 0.01, 0.1)
    unpack("optimizer", of_the_other, pack("optimizer", optimizer))
    learn(network, optimizer, 3, seed=2)
    learn(other, of_the_other, 3, seed=2)
    for own, its in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, its)


def test_learns(network):
    def loss():
        return (network(torch.arange(64)) - torch.eye(64, 16)).square().mean()

    before = loss().item()
    optimizer = muon(network, 0.02, 0.0)
    for _ in range(100):
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss().item() < 0.1 * before
