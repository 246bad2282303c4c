"""Trains simulators: cross-entropy over windows of the training users' sequences.

RecBole makes one padded row per prefix and takes the loss at its last position. SASRec and GRU4Rec are
causal, so one pass over a window gives the loss of the next item after all its prefixes. BERT4Rec and
LightSANs say for themselves what they read of a window and what is wanted there: masked items, or the item
after a prefix. Early stopping and checkpoint choice by MRR@10 on the last item of validation users.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.simulator import Simulator as SimulatorSettings
from prorl.devices import accelerator, summed
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.padded import PaddedSimulator
from prorl.simulators.padded_models import PaddedModel
from prorl.simulators.protocol import Simulator
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.registry import library_model
from prorl.simulators.scoring import InnerProductSimulator, simulator_of
from prorl.simulators.windows import last_items, windows
from prorl.training import Session, adamw


def last_item_ranks(
    simulator: Simulator, sequences: Sequences, max_length: int, batch_size: int = 512
) -> torch.Tensor:
    """Rank [u] of each user's last item after the `max_length` items before it.

    The plain form, `_ranks_by_score`, reads users with equally many items together. A model of the library
    reads `batch_size` users at once, whatever the number of their items.
    """
    if not isinstance(simulator, InnerProductSimulator | PaddedSimulator):
        return _ranks_by_score(simulator, sequences, max_length, batch_size)
    device = simulator.vectors.device
    ranks = []
    for target, before, length in zip(
        *(part.split(batch_size) for part in last_items(sequences, max_length)), strict=True
    ):
        states = simulator.states(before.to(device), length.to(device))
        ranks.append(simulator.target_scores(states, target.to(device))[1])
    return torch.cat(ranks).cpu()


def _ranks_by_score(
    simulator: Simulator, sequences: Sequences, max_length: int, batch_size: int
) -> torch.Tensor:
    """`last_item_ranks` of any simulator: the rank before an empty path."""
    target, before, lengths = last_items(sequences, max_length)
    ranks = torch.zeros(len(target), dtype=torch.int64)
    for length in lengths.unique().tolist():
        for rows in (lengths == length).nonzero()[:, 0].split(batch_size):
            empty = torch.zeros(len(rows), 1, 1, dtype=torch.int64)
            scores = simulator.score(before[rows, :length], empty, target[rows], ends=True)
            ranks[rows] = scores.rank[:, 0, 0].cpu()
    return ranks


def popularity_ranks(counts: np.ndarray, sequences: Sequences) -> torch.Tensor:
    """Rank [u] of each user's last item by `counts` [n+1] of interactions in training; an item that ties is
    not counted as better.
    """
    last = sequences.items[sequences.offsets[1:] - 1]
    order = np.sort(counts[1:])
    return torch.from_numpy(1 + len(order) - np.searchsorted(order, counts[last], side="right"))


def train_simulator(
    name: str,
    train: Sequences,
    validation: Sequences,
    n_items: int,
    settings: SimulatorSettings,
    seed: int,
    session: Session,
) -> tuple[InnerProductSimulator | PaddedSimulator, dict]:
    """Train simulator `name`; gives the best checkpoint's simulator and `{"best_epoch", "epochs"}`.

    Raises `TrainingError` naming epoch, cause and last good checkpoint where the loss or a weight is not
    finite.
    """
    run = accelerator("float32")
    torch.manual_seed(derived_seed(seed, "simulator", name, "weights"))
    model = library_model(name)(getattr(settings, name), n_items, settings.max_length).to(run.device)
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    resumable = Modules({"model": model, "optimizer": optimizer})
    training = session.begin(run, model, resumable, unit="epoch")
    for epoch in training.steps(settings.epochs):
        epoch_seed = derived_seed(seed, "simulator", name, epoch)
        loss = _train_epoch(run, model, optimizer, settings, train, epoch_seed)
        if not math.isfinite(loss):
            raise training.error(f"the loss is {loss}", epoch)
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise training.error("a weight is not finite", epoch)  # a rank by NaN would be the best
        ranks = last_item_ranks(simulator_of(model), validation, settings.max_length)
        model.requires_grad_(True)
        metrics = ranking_metrics(ranks)
        training.keep_best(epoch, metrics["mrr@10"])
        if epoch - training.best_step >= settings.patience:
            training.stopped = "flattened"
        training.log(
            epoch,
            {"train/loss": loss, **{f"validation/{key}": value for key, value in metrics.items()}},
            shown=f"loss {loss:.3f}, validation MRR@10 {metrics['mrr@10']:.4f}",
        )
        training.save()
    training.finish()
    return simulator_of(model), {"best_epoch": training.best_step, "epochs": training.step}


def _train_epoch(
    run, model: Any, optimizer, settings: SimulatorSettings, train: Sequences, seed: int
) -> float:
    """One epoch; gives the mean loss per item that is wanted.

    With several processes each takes a share of every batch.
    """
    model.train()
    generator = np.random.default_rng(seed)
    passes = getattr(model, "passes", 1)  # a causal model takes the loss after every prefix at once
    rows = torch.cat([windows(train, settings.max_length, generator) for _ in range(passes)])
    torch.manual_seed(seed)
    total, n_losses = torch.zeros((), dtype=torch.float64), 0
    for batch in rows.split(settings.batch_size):
        inputs, wanted = _examples(model, batch, generator)
        n_wanted = int((wanted != 0).sum())
        own = slice(run.process_index, None, run.num_processes)
        logits, wanted = _logits(model, inputs[own].to(run.device), wanted[own].to(run.device))
        loss = F.cross_entropy(logits, wanted - 1, reduction="sum") / n_wanted
        optimizer.zero_grad()
        loss.backward()
        if run.num_processes > 1:
            for parameter in model.parameters():
                parameter.grad = summed(run, parameter.grad)
        optimizer.step()
        total += summed(run, loss.detach()).double().cpu() * n_wanted
        n_losses += n_wanted
    model.eval()
    return (total / n_losses).item()


def _examples(
    model: nn.Module, rows: torch.Tensor, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `model` reads of the windows `rows` [w, s], and the items wanted there, 0 for none."""
    if isinstance(model, PaddedModel):
        return model.examples(rows, generator)
    longest = int((rows != 0).sum(1).max())
    return rows[:, : longest - 1], rows[:, 1:longest]


def _logits(model: Any, inputs: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [e, n] of all items wherever one of `wanted` [w, s] is, and those [e] that are."""
    real = wanted != 0
    if isinstance(model, PaddedModel):
        return model.scores(model.read(inputs)[real]), wanted[real]
    states, _ = model.extend(inputs)
    return states[real] @ model.item_embedding.weight[1:].T, wanted[real]
