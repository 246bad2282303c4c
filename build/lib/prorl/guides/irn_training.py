"""Trains the influential recommender network: cross-entropy of the next item at every position of stretches
of users' logs, see `prorl.guides.irn`.

Shape key: `b` stretches, `s` items read, `u` users.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from prorl.checkpoint import Modules
from prorl.config.proactive import IRNSettings
from prorl.devices import accelerator
from prorl.guide import GuideContext
from prorl.guides.irn import IRN, save_irn
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.windows import of_users
from prorl.training import Session

BETAS, EPS = (0.9, 0.98), 1e-9  # of Adam, as published


def fit_irn(settings: IRNSettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Train the network and write it into the context's folder.

    Gives the best epoch, its validation loss, how many epochs there were, and the impressionability r that
    was learnt. Raises `TrainingError` where the loss is not finite.
    """
    data, run = context.data, accelerator("float32")
    n_items = len(data.titles)
    length = data.train.history.shape[1] + context.decoding.max_length + 1
    train = of_users(data.sequences, data.train_users)
    held_out = np.unique(data.validation.user)
    validation = stretches(
        of_users(data.sequences, held_out),
        settings.shortest,
        length + 1,
        np.random.default_rng(derived_seed(context.seed, "irn", "validation")),
    )
    torch.manual_seed(derived_seed(context.seed, "irn", "weights"))
    model = IRN(settings, n_items, length).to(run.device)
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate, BETAS, EPS)
    training = session.begin(
        run, model, Modules({"model": model, "optimizer": optimizer}), unit="epoch", halved=[]
    )
    for epoch in training.steps(settings.epochs):
        epoch_seed = derived_seed(context.seed, "irn", epoch)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate / 2 ** len(training.counts["halved"])
        torch.manual_seed(epoch_seed)  # of dropout
        rows = stretches(train, settings.shortest, length + 1, np.random.default_rng(epoch_seed))
        loss = _train_epoch(model, optimizer, rows, settings.batch_size)
        if not math.isfinite(loss):
            raise training.error(f"the loss is {loss}", epoch)
        found = mean_loss(model, validation, settings.batch_size)
        training.keep_best(epoch, -found)
        last = max([training.best_step, *training.counts["halved"]])
        if epoch - last > settings.halve_after:
            training.counts["halved"].append(epoch)
        if epoch - training.best_step >= settings.patience:
            training.stopped = "flattened"
        training.log(
            epoch,
            {"train/loss": loss, "validation/loss": found, "train/r": model.r.item()},
            shown=f"loss {loss:.3f}, validation loss {found:.3f}",
        )
        training.save()
    training.finish()
    save_irn(context.folder, model)
    return {
        "best_epoch": training.best_step,
        "validation_loss": -training.best_score,
        "epochs": training.step,
        "r": model.r.item(),
    }


def stretches(
    sequences: Sequences, shortest: int, longest: int, generator: np.random.Generator
) -> torch.Tensor:
    """Stretches [b, `longest`] of `shortest` to `longest` items, 0 on the left, in random order.

    Each user's log is cut one after another into stretches of random lengths; what is left at its end is
    dropped where it is shorter than `shortest`.
    """
    found = []
    for user in range(1, len(sequences) + 1):
        items = sequences.of(user)
        first = 0
        while len(items) - first >= shortest:
            own = items[first : first + int(generator.integers(shortest, longest + 1))]
            found.append(np.pad(own, (longest - len(own), 0)))
            first += len(own)
    order = generator.permutation(len(found))
    return torch.from_numpy(np.array(found, dtype=np.int64).reshape(-1, longest)[order])


def next_item_losses(model: IRN, stretch: torch.Tensor) -> torch.Tensor:
    """The cross-entropy [p] of each next item in stretches [b, s + 1]: of all but the first, and but the
    last, which is the target. The item before the target is told, not read.
    """
    rows = torch.cat([stretch[:, :-2], stretch[:, -1:]], dim=1)
    read, told = rows[:, :-1] != 0, stretch[:, 1:-1]
    states = model(rows)[:, :-1][read]
    return F.cross_entropy(model.scores(states), told[read] - 1, reduction="none")


def _train_epoch(model: IRN, optimizer: torch.optim.Optimizer, rows: torch.Tensor, batch_size: int) -> float:
    """One pass over the stretches `rows`; gives the mean loss."""
    model.train()
    device = model.items.weight.device
    total, count = 0.0, 0
    for batch in rows.split(batch_size):
        losses = next_item_losses(model, batch.to(device))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        total, count = total + losses.detach().double().sum().item(), count + len(losses)
    return total / count


@torch.no_grad()
def mean_loss(model: IRN, rows: torch.Tensor, batch_size: int) -> float:
    """The mean loss over the stretches `rows`, without dropout."""
    model.eval()
    device = model.items.weight.device
    losses = [next_item_losses(model, batch.to(device)) for batch in rows.split(batch_size)]
    return torch.cat(losses).double().mean().item()
