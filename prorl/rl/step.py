"""One step of the rectified policy gradient: rollouts, rewards, advantages, loss, update.

Shape key: `b` prompts, `m` rollouts, `t` path position, `p` actions of all paths.
"""

import contextlib
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from prorl.config import Finetune
from prorl.policy.model import T5Policy
from prorl.policy.prompts import Actions, Catalogue, masked_log_softmax
from prorl.rl.advantages import acting, position_specific, reward_to_go
from prorl.rl.centering import Moments, centered, collected
from prorl.rl.losses import entropy, exact_kl, policy_gradient
from prorl.rl.rewards import StepRewards
from prorl.rl.rollouts import Prompts, draw
from prorl.simulators.scoring import Simulator

PROMPTS_PER_PASS = 8  # of the loss: prompts whose longest paths are alike share a pass, so that little padding is computed


@dataclass
class Learner:
    """What a step changes, and what it learns from. `model` is `policy` as `accelerate` wraps it."""

    run: Accelerator
    policy: T5Policy
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    reference: T5Policy
    catalogue: Catalogue
    simulator: Simulator
    settings: Finetune
    moments: dict[str, Moments]


def take_step(learner: Learner, prompts: Prompts, *, centering: bool, seed: int) -> dict[str, float]:
    """One optimiser step on `prompts`, each process taking a share; gives the step's curve values.

    While `centering`, the rewards' moments are collected, and this batch is already normalised by them.
    """
    run, settings, catalogue = learner.run, learner.settings, learner.catalogue
    n_paths = len(prompts) * settings.n_rollouts
    own = prompts[slice(run.process_index, None, run.num_processes)]
    with run.autocast():
        paths, rewards = draw(learner.policy, catalogue, learner.simulator, own, settings.n_rollouts, settings.temperature, seed)
    if centering:
        for name, moments in collected(rewards).items():
            for part in _of_all_processes(moments):
                learner.moments[name] = learner.moments[name].merged(part)
    values = centered(rewards, learner.moments, settings.weights, catalogue.decoding.max_length)
    acts = acting(paths.length, catalogue.decoding.max_length)
    advantages = position_specific(reward_to_go(values, settings.gamma), acts)
    sums = torch.zeros(len(LOSS_PARTS), dtype=torch.float64, device=run.device)
    passes = paths.length.max(dim=1).values.argsort(stable=True).split(PROMPTS_PER_PASS)
    for i, rows in enumerate(passes):
        actions = Actions.of_paths(catalogue, own.history[rows], own.target[rows], paths[rows])
        with learner.run.no_sync(learner.model) if i < len(passes) - 1 else contextlib.nullcontext():
            loss, parts = _loss(learner, own[rows], actions, advantages[rows], n_paths)
            run.backward(loss * run.num_processes)
        sums += parts
    gradient_norm = run.clip_grad_norm_(learner.model.parameters(), settings.gradient_clip)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return _curve_values(run, paths.length, rewards, advantages, acts, sums, n_paths) | {"train/gradient_norm": float(gradient_norm)}


LOSS_PARTS = ("loss", "kl", "entropy", "tokens")


def _loss(
    learner: Learner, prompts: Prompts, actions: Actions, advantages: torch.Tensor, n_paths: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of some prompts as their share of all `n_paths`, and the sums of `LOSS_PARTS`."""
    policy, catalogue, settings = learner.policy, learner.catalogue, learner.settings
    with learner.run.autocast():
        tokens = catalogue.prompt_tokens(prompts.history, prompts.target)
        states = learner.model(tokens, actions.decoder_tokens).flatten(0, 2)
        with torch.no_grad():
            reference_states = learner.reference(tokens, actions.decoder_tokens).flatten(0, 2)
    log_prob = torch.zeros(advantages.numel(), device=advantages.device)
    kl = torch.zeros((), device=advantages.device)
    total_entropy, n_tokens = torch.zeros((), device=advantages.device), 0
    for taken in actions.levels:
        log_probs = masked_log_softmax(policy.logits(states[taken.source], taken.ids) / settings.temperature, taken.allowed)
        with torch.no_grad():
            reference = learner.reference.logits(reference_states[taken.source], taken.ids) / settings.temperature
            reference = masked_log_softmax(reference, taken.allowed)
            total_entropy += entropy(log_probs).sum()
        log_prob = log_prob.index_add(0, taken.action, log_probs.gather(1, taken.chosen[:, None])[:, 0])
        kl = kl + exact_kl(log_probs, reference).sum()
        n_tokens += len(taken.chosen)
    loss = policy_gradient(advantages.flatten(), log_prob, n_paths) + settings.kl.coefficient * kl / n_paths
    return loss, torch.stack([loss.detach(), kl.detach(), total_entropy, torch.tensor(float(n_tokens), device=kl.device)]).double()


def _of_all_processes(moments: Moments) -> list[Moments]:
    """Every process's moments, in the order of the processes."""
    packed = gather(torch.stack([moments.count, moments.mean, moments.squares])[None])
    return [Moments(*row) for row in packed]


def _curve_values(
    run: Accelerator,
    length: torch.Tensor,
    rewards: StepRewards,
    advantages: torch.Tensor,
    acts: torch.Tensor,
    sums: torch.Tensor,
    n_paths: int,
) -> dict[str, float]:
    """What the curves say of a step, over the paths of all processes."""
    length = length.double()
    own = [
        rewards.ioi.double().sum(),
        rewards.ior.double().sum(),
        (rewards.ctr.double().sum(-1) / length.clamp(min=1)).sum(),
        length.sum(),
        (length**2).sum(),
        (length < rewards.real.shape[-1]).double().sum(),
        (advantages.double() ** 2).sum(),
        acts.double().sum(),
    ]
    ioi, ior, ctr, total, squared, stopped, squares, actions, loss, kl, nats, tokens = run.reduce(
        torch.cat([torch.stack(own), sums]), reduction="sum"
    ).tolist()
    mean_length = total / n_paths
    return {
        "train/loss": loss,
        "train/ioi": ioi / n_paths,
        "train/ior": ior / n_paths,
        "train/ctr": ctr / n_paths,
        "train/length": mean_length,
        "train/length_std": max(0.0, squared / n_paths - mean_length**2) ** 0.5,
        "train/stopped": stopped / n_paths,
        "train/advantage_variance": squares / max(1.0, actions),
        "train/kl": kl / n_paths,
        "train/entropy": nats / max(1.0, tokens),
    }
