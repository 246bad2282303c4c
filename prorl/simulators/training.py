"""Training simulators: cross-entropy on the next item at every position of windows over the training users' sequences.

RecBole makes one padded row per prefix and takes the loss at its last position; SASRec and GRU4Rec are causal, so one pass over a
window gives the loss of all its prefixes. Early stopping and checkpoint choice by MRR@10 on the last item of validation users.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config import Simulator as SimulatorSettings
from prorl.runtime import derived_seed, progress
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_models import SIMULATORS
from prorl.simulators.scoring import InnerProductSimulator
from prorl.training import Checkpoint, Curves, accelerator, adamw, pack, unpack


@dataclass(frozen=True)
class Sequences:
    """Item sequences of many users, each in order: `items` flat, user u's at `offsets[u]:offsets[u+1]`."""

    items: np.ndarray
    offsets: np.ndarray

    def last(self, max_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The last item of each user [u], the `max_length` items before it [u, s] padded with 0 on the right, and their number [u].

        Users of a single item are left out.
        """
        lengths = np.minimum(np.diff(self.offsets) - 1, max_length)
        users = np.flatnonzero(lengths > 0)
        lengths, ends = lengths[users], self.offsets[1:][users] - 1
        columns = np.arange(max_length)
        inside = columns < lengths[:, None]
        positions = np.where(inside, (ends - lengths)[:, None] + columns, 0)
        before = np.where(inside, self.items[positions], 0)
        return torch.from_numpy(self.items[ends]).long(), torch.from_numpy(before).long(), torch.from_numpy(lengths).long()

    def windows(self, max_length: int, generator: np.random.Generator) -> torch.Tensor:
        """Windows [w, max_length + 1] that together hold every transition once, padded with 0 on the right, in random order.

        Each user's sequence is cut at every `max_length`-th item from a random first cut, so that windows differ between epochs.
        """
        lengths = np.diff(self.offsets)
        first_cut = generator.integers(0, max_length, len(lengths))
        # Cuts at first_cut, first_cut + max_length, ...; the window before the first cut starts below 0 and is shorter.
        n_windows = np.maximum((lengths - 2 - first_cut) // max_length + 2, 0)
        user = np.repeat(np.arange(len(lengths)), n_windows)
        index = np.arange(len(user)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
        start = np.maximum(first_cut[user] + (index - 1) * max_length, 0)
        end = np.minimum(first_cut[user] + index * max_length, lengths[user] - 1)  # of the last input item's successor
        keep = end > start
        user, start, end = user[keep], start[keep], end[keep]
        columns = np.arange(max_length + 1)
        inside = columns <= (end - start)[:, None]
        positions = np.where(inside, (self.offsets[user] + start)[:, None] + columns, 0)
        windows = np.where(inside, self.items[positions], 0)
        return torch.from_numpy(windows[generator.permutation(len(windows))]).long()


def last_item_ranks(simulator: InnerProductSimulator, sequences: Sequences, max_length: int, batch_size: int = 512) -> torch.Tensor:
    """Rank [u] of each user's last item after the `max_length` items before it."""
    device = simulator.vectors.device
    ranks = []
    for target, before, length in zip(*(part.split(batch_size) for part in sequences.last(max_length)), strict=True):
        with torch.no_grad():
            states, _ = simulator.model.extend(before.to(device))
            states = states[torch.arange(len(length)), length.to(device) - 1]
        ranks.append(simulator.target_scores(states, target.to(device))[1])
    return torch.cat(ranks).cpu()


def popularity_ranks(counts: np.ndarray, sequences: Sequences) -> torch.Tensor:
    """Rank [u] of each user's last item by `counts` [n+1] of interactions in training; ties count as better items do not."""
    last = sequences.items[sequences.offsets[1:] - 1]
    order = np.sort(counts[1:])
    return torch.from_numpy(1 + len(order) - np.searchsorted(order, counts[last], side="right"))


def train_simulator(
    name: str,
    settings: SimulatorSettings,
    train: Sequences,
    validation: Sequences,
    n_items: int,
    seed: int,
    checkpoint: Checkpoint,
    curves_folder: Path,
    every_seconds: float,
) -> tuple[InnerProductSimulator, dict]:
    """Train simulator `name`; gives the best checkpoint's simulator and `{"best_epoch", "epochs"}`."""
    run = accelerator("float32")
    torch.manual_seed(derived_seed(seed, "simulator", name, "weights"))
    model = SIMULATORS[name](getattr(settings, name), n_items, settings.max_length).to(run.device)
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    best, state = pack("best", model), {"epoch": 0, "best_epoch": 0, "best_mrr": -1.0, "rows": []}
    if (stored := checkpoint.load()) is not None:
        tensors, state = stored
        unpack("model", model, tensors)
        unpack("optimizer", optimizer, tensors)
        best = {key: value for key, value in tensors.items() if key.startswith("best/")}
    curves = Curves(curves_folder, state["rows"], enabled=run.is_main_process)
    epochs = range(state["epoch"] + 1, settings.epochs + 1)
    bar = progress(
        epochs, description=f"simulator {name}", unit="epoch", every_seconds=every_seconds, total=settings.epochs, initial=state["epoch"]
    )
    for epoch in bar:
        if state["epoch"] - state["best_epoch"] >= settings.patience:
            break
        loss = _train_epoch(run, model, optimizer, settings, train, derived_seed(seed, "simulator", name, epoch))
        simulator = InnerProductSimulator(model)
        metrics = ranking_metrics(last_item_ranks(simulator, validation, settings.max_length))
        model.requires_grad_(True)
        state["epoch"] = epoch
        if metrics["mrr@10"] > state["best_mrr"]:
            state.update(best_mrr=metrics["mrr@10"], best_epoch=epoch)
            best = pack("best", model)
        curves.log(epoch, {"train/loss": loss, **{f"validation/{key}": value for key, value in metrics.items()}})
        bar.set_postfix_str(f"loss {loss:.3f}, validation MRR@10 {metrics['mrr@10']:.4f}", refresh=False)
        if run.is_main_process:
            checkpoint.save({**pack("model", model), **pack("optimizer", optimizer), **best}, {**state, "rows": curves.rows})
    curves.close()
    unpack("best", model, best)
    return InnerProductSimulator(model), {"best_epoch": state["best_epoch"], "epochs": state["epoch"]}


def _train_epoch(run, model, optimizer, settings: SimulatorSettings, train: Sequences, seed: int) -> float:
    """One pass over all windows; gives the mean loss per position. With several processes each takes a share of every batch."""
    model.train()
    windows = train.windows(settings.max_length, np.random.default_rng(seed))
    torch.manual_seed(seed)
    total, positions = torch.zeros((), dtype=torch.float64), 0
    for batch in windows.split(settings.batch_size):
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
                parameter.grad = run.reduce(parameter.grad, reduction="sum")
        optimizer.step()
        total += run.reduce(loss.detach(), reduction="sum").double().cpu() * n_positions
        positions += n_positions
    model.eval()
    return (total / positions).item()
