"""Where the gradient of the RQ-VAE's loss goes, against its formula."""

import pytest
import torch
from torch.nn.functional import mse_loss

from prorl.semantic_ids.rq_vae import Autoencoder


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Autoencoder([5, 4, 2], [torch.randn(3, 2), 0.3 * torch.randn(3, 2)]).double()


def vectors():
    return 5 * torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)


def assert_same(found, expected):
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("commitment", [0.0, 0.25, 4.0])
def test_codebooks_follow_the_residuals_and_the_encoder_its_codes_and_the_decoder(model, commitment):
    x = vectors()
    loss, residuals, codes = model(x, commitment)
    z, q = (
        model.encoder(x),
        sum(codebook[code] for codebook, code in zip(model.codebooks, codes, strict=True)),
    )
    assert len({tuple(row) for row in torch.stack(codes, dim=1).tolist()}) > 2

    # |sg(r[l]) - e[l]|^2 alone moves the codebooks, whatever the commitment.
    of_codebooks = sum(
        mse_loss(codebook[code], residual)
        for codebook, code, residual in zip(model.codebooks, codes, residuals, strict=True)
    )
    assert_same(gradients(loss, model.codebooks), gradients(of_codebooks, model.codebooks))

    # The encoder is held to its codes, and takes the decoder's gradient at q as if it were z's.
    first, second = (codebook[code].detach() for codebook, code in zip(model.codebooks, codes, strict=True))
    commitments = mse_loss(z, first) + mse_loss(z - first, second)
    straight = mse_loss(model.decoder(z + (q - z).detach()), x)
    assert_same(gradients(loss, model.encoder), gradients(commitment * commitments + straight, model.encoder))

    reconstruction = mse_loss(model.decoder(q), x)
    assert_same(gradients(loss, model.decoder), gradients(reconstruction, model.decoder))
    assert loss.item() == pytest.approx((of_codebooks + commitment * commitments + reconstruction).item())
