"""RQ-VAE: an autoencoder whose latent vector is residually quantised, trained with its codebooks.

    z = encoder(x),   q = the sum over levels of e[l],
    loss = |x - decoder(q)|^2 + sum over levels of |sg(r[l]) - e[l]|^2 + commitment |r[l] - sg(e[l])|^2

r[l] is the residual of z at level l, e[l] its nearest vector, and sg stops the gradient. The decoder's
gradient passes straight through q to z. Codebooks start from a residual k-means of the untrained latents.
Codes that no vector has used for a while restart from random residuals. Inputs are scaled to a standard
deviation of 1. It runs on the CPU, whose results repeat bit for bit.

Source: RQ-VAE (Lee et al., 2022) as TIGER (Rajput et al., 2023) uses it for semantic IDs; dead codes after
SoundStream (2021).
Shape key: `b` vectors of a batch, `n` items, `l` levels, `c` codes, `e` components of a vector, `d` of a
latent.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from prorl.config.quantize import Quantize
from prorl.errors import TrainingError
from prorl.runtime import derived_seed
from prorl.semantic_ids.residual import Quantised, reconstruct, residual_codes
from prorl.semantic_ids.rq_kmeans import fit_codebooks

RESEED_EVERY = 100  # steps; a whole pass over the vectors where that takes more


def mlp(sizes: list[int]) -> nn.Sequential:
    """Linear layers from `sizes[0]` to `sizes[-1]`, with ReLU between them."""
    layers = [layer for ends in pairwise(sizes) for layer in (nn.Linear(*ends), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    """An encoder, a decoder that mirrors it, and codebooks [c, d], one per level."""

    def __init__(self, sizes: list[int], codebooks: list[torch.Tensor]):
        super().__init__()
        self.encoder, self.decoder = mlp(sizes), mlp(sizes[::-1])
        self.codebooks = nn.ParameterList(codebooks)

    def forward(
        self, x: torch.Tensor, commitment: float
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """The loss of `x` [b, e], and per level the residuals [b, d] before it and their codes [b]."""
        z = self.encoder(x)
        residual, loss, residuals, codes = z, x.new_zeros(()), [], []
        for codebook in self.codebooks:
            code = torch.cdist(residual.detach(), codebook.detach()).argmin(dim=1)
            chosen = codebook[code]
            loss = (
                loss + mse_loss(chosen, residual.detach()) + commitment * mse_loss(residual, chosen.detach())
            )
            residuals.append(residual.detach())
            codes.append(code)
            residual = residual - chosen.detach()
        quantised = z + (-residual).detach()  # z - residual is the sum of the chosen vectors
        return loss + mse_loss(self.decoder(quantised), x), residuals, codes


def rq_vae(vectors: np.ndarray, settings: Quantize, seed: int) -> Quantised:
    """Codes of `vectors` [n, e] by an RQ-VAE trained on them.

    It trains for `settings.rq_vae.steps` steps, over which the learning rate falls to 0.
    """
    sizes = settings.rq_vae
    scale = float(np.std(vectors, dtype=np.float64)) or 1.0
    inputs = torch.from_numpy(np.asarray(vectors / scale, dtype=np.float32))
    generator = torch.Generator().manual_seed(derived_seed(seed, "rq_vae"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "rq_vae", "weights"))
        model = Autoencoder([inputs.shape[1], *sizes.hidden_sizes, sizes.latent_size], [])
    with torch.no_grad():
        latents = model.encoder(inputs).numpy()
    first = fit_codebooks(latents, settings.replace(n_restarts=1), derived_seed(seed, "rq_vae", "codebooks"))
    model.codebooks = nn.ParameterList([torch.from_numpy(codebook) for codebook in first])
    train(model, inputs, settings, generator)
    with torch.no_grad():
        codebooks = [codebook.numpy() for codebook in model.codebooks]
        codes = residual_codes(model.encoder(inputs).numpy(), codebooks, settings.balanced)
        decoded = model.decoder(torch.from_numpy(reconstruct(codes, codebooks))).numpy()
    tensors = {
        name.replace("codebooks.", "codebook_"): tensor.numpy() for name, tensor in model.state_dict().items()
    }
    return Quantised(codes, decoded * scale, {**tensors, "scale": np.array([scale], dtype=np.float32)})


def train(model: Autoencoder, inputs: torch.Tensor, settings: Quantize, generator: torch.Generator) -> None:
    """Train `model` on `inputs` [n, e]; `generator` shuffles the passes and restarts dead codes.

    Raises `TrainingError` at the first step whose loss is not finite.
    """
    sizes = settings.rq_vae
    optimizer = torch.optim.AdamW(model.parameters(), lr=sizes.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=sizes.steps
    )
    order = torch.empty(0, dtype=torch.int64)
    reseed_every = max(RESEED_EVERY, -(-len(inputs) // sizes.batch_size))
    used = [torch.zeros(len(codebook), dtype=torch.bool) for codebook in model.codebooks]
    for step in range(1, sizes.steps + 1):
        if not len(order):
            order = torch.randperm(len(inputs), generator=generator)
        batch, order = order[: sizes.batch_size], order[sizes.batch_size :]
        loss, residuals, codes = model(inputs[batch], sizes.commitment)
        if not loss.isfinite():
            raise TrainingError(
                f"the RQ-VAE's loss is {loss.item()}, at step {step}; "
                f"quantize.rq_vae.learning_rate is {sizes.learning_rate}"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        for level, code in enumerate(codes):
            used[level][code] = True
        if step % reseed_every == 0:
            for codebook, residual, alive in zip(model.codebooks, residuals, used, strict=True):
                reseed_dead_codes(codebook, residual, alive, generator)
                alive.zero_()


@torch.no_grad()
def reseed_dead_codes(
    codebook: torch.Tensor, residuals: torch.Tensor, alive: torch.Tensor, generator: torch.Generator
) -> None:
    """Overwrite the codes of `codebook` [c, d] that are not `alive` [c] with random `residuals` [b, d]."""
    dead = (~alive).nonzero()[:, 0]
    codebook[dead] = residuals[torch.randint(len(residuals), (len(dead),), generator=generator)]
