"""Supervised pre-training of the policy: cross-entropy on the tokens of demonstrated paths and their stop.

The paper trains on mined paths alone, for 200 epochs; `search_paths` mixes in paths found by search on the
simulator. Training stops when the validation loss has flattened. AdamW, linear warm-up and then a learning
rate falling as the cosine over `max_steps`. Token embeddings have a learning rate of their own: T5's entries
are ten times as large as those of its matrices and each is seen in few batches, so that at one rate for all
they hardly move, and the policy learns what is popular long before it sees the target.
Stage: `stages/pretrain.py`.
"""

import math
from pathlib import Path

import torch
from accelerate import Accelerator

from prorl.config.pretrain import Pretrain
from prorl.config.section import ConfigError
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Demonstrations, concatenated
from prorl.runtime import derived_seed, progress
from prorl.t5.model import T5
from prorl.training import (
    Checkpoint,
    Curves,
    accelerator,
    adamw,
    cannot_go_on,
    pack,
    scale_learning_rate,
    unpack,
)


def cosine_with_warmup(step: int, n_steps: int, warmup_steps: int) -> float:
    """Share of the learning rate at `step` of 1..n_steps: rising linearly, then falling as a half cosine to
    0.
    """
    if step <= warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, n_steps - warmup_steps)))


def summed_loss(policy: torch.nn.Module, catalogue: Catalogue, batch: Demonstrations) -> torch.Tensor:
    """Cross-entropy over the whole vocabulary, summed over every token of the paths and their stops; padding
    has none.

    A path of the longest length has no stop.
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
    module = getattr(policy, "module", policy)
    return module.summed_cross_entropy(states[real], labels[real], slice(0, vocabulary.size))


def n_tokens(batch: Demonstrations, catalogue: Catalogue) -> int:
    """Tokens that carry loss: those of the items, and the stops."""
    return int((batch.lengths * catalogue.n_levels + (batch.lengths < catalogue.decoding.max_length)).sum())


def pretrain(
    policy: T5,
    catalogue: Catalogue,
    train: dict[str, Demonstrations],
    validation: dict[str, Demonstrations],
    shares: dict[str, float],
    settings: Pretrain,
    seed: int,
    checkpoint: Checkpoint,
    curves_folder: Path,
    every_seconds: float,
    tensorboard: Path | None = None,
) -> dict:
    """Train `policy` in place to its best validation loss; `shares` of every batch come from each source of
    `train`.

    The validation loss is the sources' mean token losses weighted by `shares`. Gives `{"steps", "best_step",
    "stopped", "validation_loss"}`, `stopped` being `flattened` or `max_steps`. Raises `TrainingError` naming
    step, cause and last good checkpoint where a loss is not finite.
    """
    run = accelerator(settings.precision)
    if settings.batch_size < run.num_processes:
        raise ConfigError(
            f"pretrain.batch_size: got {settings.batch_size}, allowed: at least one for each of {run.num_processes} processes"
        )
    catalogue = catalogue.to(run.device)
    train, validation = (
        {name: part.to(run.device) for name, part in parts.items()} for parts in (train, validation)
    )
    policy.to(run.device)
    own_rates = {policy.shared.weight: settings.embedding_learning_rate}
    optimizer = adamw(policy, settings.learning_rate, settings.weight_decay, own_rates)
    model, optimizer = run.prepare(policy, optimizer)
    best, state = (
        pack("best", policy),
        {"step": 0, "best_step": 0, "best_loss": math.inf, "rows": [], "stopped": "max_steps"},
    )
    if (stored := checkpoint.load()) is not None:
        tensors, state = stored
        unpack("model", policy, tensors)
        unpack("optimizer", optimizer, tensors)
        best = {name: tensor for name, tensor in tensors.items() if name.startswith("best/")}
    curves = Curves(curves_folder, state["rows"], enabled=run.is_main_process, tensorboard=tensorboard)
    steps = range(state["step"] + 1, settings.max_steps + 1)
    bar = progress(
        steps,
        description="pretrain",
        unit="step",
        every_seconds=every_seconds,
        total=settings.max_steps,
        initial=state["step"],
    )
    losses = []
    for step in bar:
        if state["stopped"] == "flattened":
            break
        scale_learning_rate(optimizer, cosine_with_warmup(step, settings.max_steps, settings.warmup_steps))
        step_seed = derived_seed(seed, "pretrain", step)
        batch = drawn(train, shares, settings.batch_size, step_seed)
        model.train()
        torch.manual_seed(step_seed)  # of dropout
        losses.append(train_step(run, model, optimizer, catalogue, batch, settings.gradient_clip))
        if step % settings.evaluate_every and step != settings.max_steps:
            continue
        row = {
            f"validation/loss_{name}": _mean_loss(run, model, catalogue, part)
            for name, part in validation.items()
            if shares[name] > 0
        }
        loss = sum(row[f"validation/loss_{name}"] * share for name, share in shares.items() if share > 0)
        for at, value in [
            *zip(range(step - len(losses) + 1, step + 1), torch.stack(losses).tolist(), strict=True),
            (step, loss),
        ]:
            if not math.isfinite(value):
                raise cannot_go_on(f"the loss is {value}", f"step {at}", checkpoint)
        state["step"] = step
        if loss < state["best_loss"] - settings.min_improvement:
            state.update(best_loss=loss, best_step=step)
            best = pack("best", policy)
        elif step - state["best_step"] >= settings.patience * settings.evaluate_every:
            state["stopped"] = "flattened"
        train_loss = torch.stack(losses).mean().item()
        losses.clear()
        curves.log(step, {"train/loss": train_loss, "validation/loss": loss, **row})
        bar.set_postfix_str(f"loss {train_loss:.3f}, validation {loss:.3f}", refresh=False)
        if run.is_main_process:
            checkpoint.save(
                {**pack("model", policy), **pack("optimizer", optimizer), **best},
                {**state, "rows": curves.rows},
            )
    curves.close()
    unpack("best", policy, best)
    return {
        "steps": state["step"],
        "best_step": state["best_step"],
        "stopped": state["stopped"],
        "validation_loss": state["best_loss"],
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
    """One optimiser step on `batch`, each process taking a share; the mean loss per token over all processes."""
    total = n_tokens(batch, catalogue)
    own = batch.lengths.argsort(stable=True)[
        run.process_index :: run.num_processes
    ]  # of all lengths for each process
    with run.autocast():
        loss = summed_loss(model, catalogue, batch[own]) / total
    run.backward(loss * run.num_processes)
    run.clip_grad_norm_(model.parameters(), gradient_clip)
    optimizer.step()
    optimizer.zero_grad()
    return run.reduce(loss.detach(), reduction="sum")


@torch.no_grad()
def _mean_loss(
    run, model, catalogue: Catalogue, demonstrations: Demonstrations, batch_size: int = 256
) -> float:
    """Mean token loss over `demonstrations`, each process taking a share."""
    model.eval()
    order = demonstrations.lengths.argsort(stable=True)
    total = torch.zeros((), dtype=torch.float64, device=run.device)
    for rows in order.split(batch_size)[run.process_index :: run.num_processes]:
        with run.autocast():
            total += summed_loss(model, catalogue, demonstrations[rows])
    return (run.reduce(total, reduction="sum") / n_tokens(demonstrations, catalogue)).item()
