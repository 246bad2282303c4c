"""Pre-trains the policy: cross-entropy on the tokens of demonstrated paths and their stops.

The paper trains on mined paths alone, for 200 epochs; `search_paths` mixes in paths found by a search on the
simulator. Training stops when the validation loss has flattened. AdamW, linear warm-up and then a learning
rate falling as the cosine over `max_steps`. Token embeddings have a learning rate of their own: T5's entries
are ten times as large as those of its matrices, and each is seen in few batches. At one rate for all they
hardly move, and the policy learns what is popular long before it sees the target.
Stage: `stages/pretrain.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator

from prorl.checkpoint import Modules
from prorl.config.pretrain import Pretrain
from prorl.config.section import ConfigError
from prorl.devices import accelerator, summed
from prorl.paths.sequences import Sequences
from prorl.paths.slices import random_slices
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Demonstrations, Prompts, concatenated, mined, random_prompts
from prorl.runtime import derived_seed
from prorl.t5.model import T5
from prorl.tables import Instances
from prorl.training import Session, adamw, scale_learning_rate


@dataclass(frozen=True)
class Mixture:
    """Demonstrations by source, and the share of every batch that comes from each: {name: share}."""

    train: dict[str, Demonstrations]
    validation: dict[str, Demonstrations]
    shares: dict[str, float]

    def to(self, device: torch.device) -> "Mixture":
        """The same on `device`."""
        train, validation = (
            {name: part.to(device) for name, part in parts.items()} for parts in (self.train, self.validation)
        )
        return Mixture(train, validation, self.shares)


def mixture(
    train: Instances,
    validation: Instances,
    sequences: Sequences,
    n_items: int,
    max_length: int,
    settings: Pretrain,
    seed: int,
    search: Callable[[Prompts], Demonstrations] | None,
) -> Mixture:
    """Mined paths, or random slices in their place; and where there is a `search`, paths that it finds
    towards random targets.

    Of these there are `search_paths` to train on, and a tenth as many to validate on.
    """
    instances = {"train": train, "validation": validation}
    if settings.paths == "slices":
        instances = {
            split: random_slices(part, sequences, derived_seed(seed, "slices", split))
            for split, part in instances.items()
        }
    parts = {split: {"mined": mined(part, max_length)} for split, part in instances.items()}
    if search is None:
        return Mixture(parts["train"], parts["validation"], {"mined": 1.0})
    n_paths = {"train": settings.search_paths, "validation": -(-settings.search_paths // 10)}
    for split, part in instances.items():
        search_seed = derived_seed(seed, "search", split)
        prompts = random_prompts(part, sequences, n_items, n_paths[split], search_seed)
        parts[split]["search"] = search(prompts)
    shares = {"mined": 1 - settings.search_share, "search": settings.search_share}
    return Mixture(parts["train"], parts["validation"], shares)


def in_steps(settings: Pretrain, n_mined: int) -> Pretrain:
    """`settings` with `max_steps` of `passes` over `n_mined` paths. Raises `ConfigError` for a warm-up that
    does not end by then.
    """
    if settings.passes is None:
        return settings
    return settings.replace(passes=None, max_steps=settings.passes * -(-n_mined // settings.batch_size))


def cosine_with_warmup(step: int, n_steps: int, warmup_steps: int) -> float:
    """Share of the learning rate at `step` of 1..n_steps: rising linearly, then falling as a half cosine to
    0.
    """
    if step <= warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, n_steps - warmup_steps)))


def summed_loss(policy: torch.nn.Module, catalogue: Catalogue, batch: Demonstrations) -> torch.Tensor:
    """Cross-entropy over the ids that may be emitted, summed over the tokens of the paths and their stops.

    A path of the longest length has no stop; padding has no loss.
    """
    vocabulary, n_levels = catalogue.vocabulary, catalogue.n_levels
    width = int(batch.lengths.max())
    tokens = catalogue.item_tokens(batch.path[:, :width]).flatten(1)
    labels = torch.cat([tokens, torch.zeros_like(tokens[:, :1])], dim=1)
    stops = batch.lengths < catalogue.decoding.max_length
    labels[stops, batch.lengths[stops] * n_levels] = vocabulary.eos
    inputs = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
    real = labels != 0
    states = policy(
        catalogue.prompt_tokens(batch.history, batch.target), inputs[:, None], real.sum(1, keepdim=True)
    )[:, 0]
    module = cast(T5, getattr(policy, "module", policy))  # of what `accelerate` may have wrapped
    return module.summed_cross_entropy(states[real], labels[real], slice(0, vocabulary.size))


def n_tokens(batch: Demonstrations, catalogue: Catalogue) -> int:
    """Tokens that carry loss: those of the items, and the stops."""
    return int((batch.lengths * catalogue.n_levels + (batch.lengths < catalogue.decoding.max_length)).sum())


def pretrain(
    policy: T5, catalogue: Catalogue, demonstrations: Mixture, settings: Pretrain, seed: int, session: Session
) -> dict:
    """Train `policy` in place to its best validation loss.

    The validation loss is the sources' mean token losses, weighted by their shares. Gives `{"steps",
    "best_step", "stopped", "validation_loss"}`, `stopped` being `flattened` or `max_steps`. Raises
    `TrainingError` naming step, cause and last good checkpoint where a loss is not finite.
    """
    settings = in_steps(settings, len(demonstrations.train["mined"]))
    run = accelerator(settings.precision)
    if settings.batch_size < run.num_processes:
        raise ConfigError(
            f"params.yaml: pretrain.batch_size: got {settings.batch_size}, "
            f"allowed: at least one for each of {run.num_processes} processes"
        )
    catalogue, demonstrations = catalogue.to(run.device), demonstrations.to(run.device)
    policy.to(run.device)
    own_rates = {policy.shared.weight: settings.embedding_learning_rate}
    optimizer = adamw(policy, settings.learning_rate, settings.weight_decay, own_rates)
    model, optimizer = run.prepare(policy, optimizer)
    training = session.begin(run, policy, Modules({"model": policy, "optimizer": optimizer}))
    losses = []
    for step in training.steps(settings.max_steps):
        scale_learning_rate(optimizer, cosine_with_warmup(step, settings.max_steps, settings.warmup_steps))
        step_seed = derived_seed(seed, "pretrain", step)
        batch = drawn(demonstrations.train, demonstrations.shares, settings.batch_size, step_seed)
        model.train()
        torch.manual_seed(step_seed)  # of dropout
        losses.append(train_step(run, model, optimizer, catalogue, batch, settings.gradient_clip))
        if step % settings.evaluate_every and step != settings.max_steps:
            continue
        validation = _validation_losses(run, model, catalogue, demonstrations)
        loss, train_losses = validation["validation/loss"], torch.stack(losses)
        for at, value in [*enumerate(train_losses.tolist(), step - len(losses) + 1), (step, loss)]:
            if not math.isfinite(value):
                raise training.error(f"the loss is {value}", at)
        training.keep_best(step, -loss, by=settings.min_improvement)
        if step - training.best_step >= settings.patience * settings.evaluate_every:
            training.stopped = "flattened"
        train_loss = train_losses.mean().item()
        training.log(
            step,
            {"train/loss": train_loss, **validation},
            shown=f"loss {train_loss:.3f}, validation {loss:.3f}",
        )
        training.save()
        losses.clear()
    training.finish()
    return {
        "steps": training.step,
        "best_step": training.best_step,
        "stopped": training.stopped or "max_steps",
        "validation_loss": -training.best_score,
    }


def drawn(
    train: dict[str, Demonstrations], shares: dict[str, float], batch_size: int, seed: int
) -> Demonstrations:
    """A batch drawn with `seed`, `shares` of it from each source of `train`."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for name, share in shares.items():
        n = round(batch_size * share)
        if n:
            rows = torch.randint(len(train[name]), (n,), generator=generator)
            parts.append(train[name][rows.to(train[name].target.device)])
    return concatenated(parts)


def train_step(
    run: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    catalogue: Catalogue,
    batch: Demonstrations,
    gradient_clip: float,
) -> torch.Tensor:
    """One optimiser step on `batch`, each process taking a share; gives the mean loss per token of all."""
    total = n_tokens(batch, catalogue)
    order = batch.lengths.argsort(stable=True)
    own = order[run.process_index :: run.num_processes]  # each process has paths of all lengths
    with run.autocast():
        loss = summed_loss(model, catalogue, batch[own]) / total
    run.backward(loss * run.num_processes)
    run.clip_grad_norm_(model.parameters(), gradient_clip)
    optimizer.step()
    optimizer.zero_grad()
    return summed(run, loss.detach())


def _validation_losses(
    run: Accelerator, model: torch.nn.Module, catalogue: Catalogue, demonstrations: Mixture
) -> dict[str, float]:
    """Curve values: the mean token loss of all sources, weighted by their shares, and that of each."""
    shares = {name: share for name, share in demonstrations.shares.items() if share > 0}
    losses = {
        name: _mean_loss(run, model, catalogue, part)
        for name, part in demonstrations.validation.items()
        if name in shares
    }
    of_sources = {f"validation/loss_{name}": loss for name, loss in losses.items()}
    return {"validation/loss": sum(losses[name] * share for name, share in shares.items()), **of_sources}


@torch.no_grad()
def _mean_loss(
    run: Accelerator,
    model: torch.nn.Module,
    catalogue: Catalogue,
    demonstrations: Demonstrations,
    batch_size: int = 256,
) -> float:
    """Mean token loss over `demonstrations`, each process taking a share."""
    model.eval()
    order = demonstrations.lengths.argsort(stable=True)
    total = torch.zeros((), dtype=torch.float64, device=run.device)
    for rows in order.split(batch_size)[run.process_index :: run.num_processes]:
        with run.autocast():
            total += summed_loss(model, catalogue, demonstrations[rows])
    return (summed(run, total) / n_tokens(demonstrations, catalogue)).item()
