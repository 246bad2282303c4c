"""Trains simulators: cross-entropy on the next item at every position of windows over the training users'
sequences.

RecBole makes one padded row per prefix and takes the loss at its last position; SASRec and GRU4Rec are
causal, so one pass over a window gives the loss of all its prefixes. Early stopping and checkpoint choice by
MRR@10 on the last item of validation users.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from prorl.checkpoint import Modules
from prorl.config.simulator import Simulator as SimulatorSettings
from prorl.devices import accelerator, summed
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.registry import causal_model
from prorl.simulators.scoring import InnerProductSimulator
from prorl.simulators.windows import last_items, windows
from prorl.training import Session, adamw


def last_item_ranks(
    simulator: Simulator, sequences: Sequences, max_length: int, batch_size: int = 512
) -> torch.Tensor:
    """Rank [u] of each user's last item after the `max_length` items before it.

    The plain form, `_ranks_by_score`, reads users with equally many items together. A causal model reads
    `batch_size` users at once, whatever the number of their items.
    """
    if not isinstance(simulator, InnerProductSimulator):
        return _ranks_by_score(simulator, sequences, max_length, batch_size)
    device = simulator.vectors.device
    ranks = []
    for target, before, length in zip(
        *(part.split(batch_size) for part in last_items(sequences, max_length)), strict=True
    ):
        with torch.no_grad():
            states, _ = simulator.model.extend(before.to(device))
            states = states[torch.arange(len(length)), length.to(device) - 1]
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
) -> tuple[InnerProductSimulator, dict]:
    """Train simulator `name`; gives the best checkpoint's simulator and `{"best_epoch", "epochs"}`.

    Raises `TrainingError` naming epoch, cause and last good checkpoint where the loss or a weight is not
    finite.
    """
    run = accelerator("float32")
    torch.manual_seed(derived_seed(seed, "simulator", name, "weights"))
    model = causal_model(name)(getattr(settings, name), n_items, settings.max_length).to(run.device)
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
        ranks = last_item_ranks(InnerProductSimulator(model), validation, settings.max_length)
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
    return InnerProductSimulator(model), {"best_epoch": training.best_step, "epochs": training.step}


def _train_epoch(run, model, optimizer, settings: SimulatorSettings, train: Sequences, seed: int) -> float:
    """One pass over all windows; gives the mean loss per position.

    With several processes each takes a share of every batch.
    """
    model.train()
    rows = windows(train, settings.max_length, np.random.default_rng(seed))
    torch.manual_seed(seed)
    total, positions = torch.zeros((), dtype=torch.float64), 0
    for batch in rows.split(settings.batch_size):
        n_positions = int((batch[:, 1:] != 0).sum())
        longest = int((batch != 0).sum(1).max())
        own = batch[run.process_index :: run.num_processes, :longest].to(run.device)
        states, _ = model.extend(own[:, :-1])
        real = own[:, 1:] != 0
        logits = states[real] @ model.item_embedding.weight[1:].T
        loss = F.cross_entropy(logits, own[:, 1:][real] - 1, reduction="sum") / n_positions
        optimizer.zero_grad()
        loss.backward()
        if run.num_processes > 1:
            for parameter in model.parameters():
                parameter.grad = summed(run, parameter.grad)
        optimizer.step()
        total += summed(run, loss.detach()).double().cpu() * n_positions
        positions += n_positions
    model.eval()
    return (total / positions).item()
