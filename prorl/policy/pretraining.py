"""Pre-trains the policy: cross-entropy on the tokens of demonstrated paths and their stops.

The paper trains on mined paths alone, for 200 epochs. Here a search on the simulator demonstrates paths
(`pretrain.search`), and how near the items came that it did not take. From some step on the policy writes the
paths itself, and the search says at each of their places what it would have taken (DAgger, Ross et al. 2011):
who has seen the paths of the search alone does not know how to go on where their own have led. The weights
that are kept have the lowest validation loss, or lead validation users best (`pretrain.select_on`); training
stops when they get no better. Muon or AdamW, linear warm-up and then a learning rate falling as the cosine
over `max_steps`. Token embeddings have a learning rate of their own: T5's entries are ten times as large as
those of its matrices, and each is seen in few batches. At one rate for all they hardly move, and the policy
learns what is popular long before it sees the target.
Stage: `stages/pretrain.py`.

Shape key: `b` demonstrations, `t` path position, `s` token of a path, `c` alternatives.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from prorl.checkpoint import Modules
from prorl.config.pretrain import Pretrain
from prorl.config.section import ConfigError
from prorl.devices import accelerator, summed
from prorl.optimizers import OPTIMIZERS
from prorl.policy.catalogue import Catalogue
from prorl.policy.sources import Mixture
from prorl.prompts import Demonstrations
from prorl.runtime import derived_seed
from prorl.t5.model import T5
from prorl.training import Session, scale_learning_rate

SMALLEST_SHARE = 1e-9  # what is left where an item that begins like no other has no share of its own


def in_steps(settings: Pretrain, n_mined: int) -> Pretrain:
    """`settings` with `max_steps` of `passes` over `n_mined` paths. Raises `ConfigError` for a warm-up that
    does not end by then.
    """
    if settings.passes is None:
        return settings
    n_steps = settings.passes * -(-n_mined // settings.batch_size)
    if settings.warmup_steps > n_steps:
        raise ConfigError(
            f"params.yaml: pretrain.warmup_steps: got {settings.warmup_steps}, allowed: at most {n_steps}, "
            f"the steps of pretrain.passes {settings.passes} over {n_mined} mined paths"
        )
    return settings.replace(passes=None, max_steps=n_steps)


def cosine_with_warmup(step: int, n_steps: int, warmup_steps: int) -> float:
    """Share of the learning rate at `step` of 1..n_steps: rising linearly, then falling as a half cosine to
    0.
    """
    if step <= warmup_steps:
        return step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, n_steps - warmup_steps)))


def summed_loss(policy: torch.nn.Module, catalogue: Catalogue, batch: Demonstrations) -> torch.Tensor:
    """Cross-entropy over the ids that may be emitted, summed over the tokens of the paths and their stops.

    Where a position has alternatives, it is that of their shares: at an item's first token between the first
    tokens of all, at its others between the items that begin alike. A path of the longest length has no
    stop; padding has no loss.
    """
    vocabulary, n_levels = catalogue.vocabulary, catalogue.n_levels
    width = max(1, int(batch.lengths.max()))
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
    emitted = slice(0, vocabulary.size)
    loss = module.summed_cross_entropy(states[real], labels[real], emitted)
    if not batch.shares.shape[2]:
        return loss
    # A share that goes to another token than the path's own adds its share of the difference of the logits.
    others, shares = alternative_tokens(catalogue, batch, labels)
    uncertain = shares.sum(-1) > 0
    logits = module.logits(states[uncertain], emitted).float()
    own = logits.gather(1, labels[uncertain][:, None])
    return loss + (shares[uncertain] * (own - logits.gather(1, others[uncertain]))).sum()


def alternative_tokens(
    catalogue: Catalogue, batch: Demonstrations, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and shares [b, s, c] that the alternatives have beside the path's own `labels` [b, s], s being
    1 more than the tokens of the longest path.

    At an item's later tokens only the items that begin like the path's own count, and their shares and its
    own are taken as parts of their sum.
    """
    n_levels = catalogue.n_levels
    width = (labels.shape[1] - 1) // n_levels
    at_items = batch.alternatives[:, :width], batch.shares[:, :width]
    items, shares = (torch.cat([part, torch.zeros_like(part[:, :1])], dim=1) for part in at_items)
    if width < batch.shares.shape[1]:
        items[:, width], shares[:, width] = batch.alternatives[:, width], batch.shares[:, width]
    tokens = catalogue.item_tokens(items)
    tokens[..., 0].masked_fill_(items == 0, catalogue.vocabulary.eos)
    own = F.pad(labels, (0, n_levels - 1)).unflatten(1, (-1, n_levels))
    alike = torch.ones_like(shares, dtype=torch.bool)
    left = 1 - shares.sum(-1, keepdim=True)
    of_levels = []
    for level in range(n_levels):
        counted = shares * alike
        of_levels.append(counted / (left + counted.sum(-1, keepdim=True)).clamp(min=SMALLEST_SHARE))
        alike &= tokens[..., level] == own[:, :, None, level]
    spread = torch.stack(of_levels, dim=2).flatten(1, 2)[:, : labels.shape[1]]
    spread = spread * (labels != 0)[..., None]
    return tokens.transpose(2, 3).flatten(1, 2)[:, : labels.shape[1]], spread


def n_tokens(batch: Demonstrations, catalogue: Catalogue) -> int:
    """Tokens that carry loss: those of the items, and the stops."""
    return int((batch.lengths * catalogue.n_levels + (batch.lengths < catalogue.decoding.max_length)).sum())


@dataclass(frozen=True)
class Learnt:
    """Policy and optimiser, the losses [] of the steps since the curves' last row, and the paths [b, t] that
    the policy has written by block, as `Resumable`.
    """

    modules: Modules
    losses: list[torch.Tensor]
    written: dict[int, torch.Tensor]

    def tensors(self) -> dict[str, torch.Tensor]:
        """See `Resumable.tensors`."""
        losses = {"losses": torch.stack(self.losses)} if self.losses else {}
        written = {f"written/{block}": paths for block, paths in self.written.items()}
        return {**self.modules.tensors(), **losses, **written}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """See `Resumable.restore`."""
        self.modules.restore(tensors)
        device = next(self.modules.by_name["model"].parameters()).device  # pyright: ignore
        self.losses[:] = tensors["losses"].to(device).unbind() if "losses" in tensors else []
        self.written.clear()
        for name, paths in tensors.items():
            if name.startswith("written/"):
                self.written[int(name.removeprefix("written/"))] = paths.to(device)


def pretrain(
    policy: T5,
    catalogue: Catalogue,
    demonstrations: Mixture,
    settings: Pretrain,
    seed: int,
    session: Session,
    validate: Callable[[T5], dict[str, float]],
) -> dict:
    """Train `policy` in place to its lowest validation loss, or to its best `select_on` of what `validate`
    gives, the greedy validation metrics of a policy.

    The validation loss is the sources' mean token losses, weighted by their shares; it is of the search's own
    paths, where the policy may also have learnt from its own. Gives `{"steps", "best_step", "stopped",
    "validation_loss"}`, `stopped` being `flattened` or `max_steps`, the loss that of `best_step`. Raises
    `TrainingError` naming step, cause and last good checkpoint where a loss is not finite.
    """
    run = accelerator(settings.precision)
    if settings.batch_size < run.num_processes:
        raise ConfigError(
            f"params.yaml: pretrain.batch_size: got {settings.batch_size}, "
            f"allowed: at least one for each of {run.num_processes} processes"
        )
    catalogue, demonstrations = catalogue.to(run.device), demonstrations.to(run.device)
    policy.to(run.device)
    own_rates = {policy.shared.weight: settings.embedding_learning_rate}
    optimizer = OPTIMIZERS[settings.optimizer](
        policy, settings.learning_rate, settings.weight_decay, own_rates
    )
    model, optimizer = run.prepare(policy, optimizer)
    resumable = Learnt(Modules({"model": policy, "optimizer": optimizer}), [], demonstrations.written)
    losses = resumable.losses
    training = session.begin(run, policy, resumable, loss_of_best=None)
    for step in training.steps(settings.max_steps):
        scale_learning_rate(optimizer, cosine_with_warmup(step, settings.max_steps, settings.warmup_steps))
        step_seed = derived_seed(seed, "pretrain", step)
        batch = demonstrations.drawn(step, settings.batch_size, step_seed)
        model.train()
        torch.manual_seed(step_seed)  # of dropout
        told = catalogue.at(catalogue.acceptance_at(demonstrations.number(step)))
        losses.append(train_step(run, model, optimizer, told, batch, settings.gradient_clip))
        if step % settings.evaluate_every and step != settings.max_steps:
            continue
        validation = _validation_losses(run, model, catalogue, demonstrations)
        loss, train_losses = validation["validation/loss"], torch.stack(losses)
        for at, value in [*enumerate(train_losses.tolist(), step - len(losses) + 1), (step, loss)]:
            if not math.isfinite(value):
                raise training.error(f"the loss is {value}", at)
        score = -loss
        if settings.select_on is not None:
            metrics = validate(policy)
            validation |= {f"validation/{name}": value for name, value in metrics.items()}
            score = sum(weight * metrics[name] for name, weight in settings.select_on.items())
        if training.keep_best(step, score, by=settings.min_improvement):
            training.counts["loss_of_best"] = loss
        if step - training.best_step >= settings.patience * settings.evaluate_every:
            training.stopped = "flattened"
        train_loss = train_losses.mean().item()
        training.log(
            step,
            {"train/loss": train_loss, **validation},
            shown=f"loss {train_loss:.3f}, validation {loss:.3f}",
        )
        losses.clear()
        training.save()
    training.finish()
    return {
        "steps": training.step,
        "best_step": training.best_step,
        "stopped": training.stopped or "max_steps",
        "validation_loss": training.counts["loss_of_best"],
    }


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
