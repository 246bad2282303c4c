"""One step of the policy gradient: rollouts, rewards, advantages, and one or more updates on them.

Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

import math

import torch
from accelerate.utils import gather
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from prorl.config.finetune import Finetune
from prorl.rl.advantages import acting, reward_to_go
from prorl.rl.centering import centered, uncentered
from prorl.rl.diagnostics import gradient_variance, rollout_curves, rollout_sums
from prorl.rl.learner import Learner
from prorl.rl.passes import LOSS_SUMS, Pass, pass_loss, passes_of_halves
from prorl.rl.rewards import StepRewards, lowest, penalised
from prorl.rl.rollouts import Prompts, draw
from prorl.runtime import TrainingError

ALIKE = 1e-6  # returns that differ by no more are the same: rounding


def take_step(
    learner: Learner, prompts: Prompts, *, centering: bool, seed: int, critic_alone: bool = False
) -> dict[str, float]:
    """The updates of one step on `prompts`, each process taking a share; gives the step's curve values.

    While `centering`, the rewards' moments are collected, and this batch is already normalised by them. While
    `critic_alone`, the policy stays as it is. Raises `TrainingError`, before the update in question, where no
    path takes part or loss or gradient is not finite.
    """
    run, settings = learner.run, learner.settings
    own = prompts[slice(run.process_index, None, run.num_processes)]
    with run.autocast():
        paths, raw = draw(
            learner.policy,
            learner.catalogue,
            learner.simulator,
            own,
            settings.n_rollouts,
            settings.temperature,
            seed,
        )
    if centering:
        learner.collect(raw)
    rewards = penalised(raw, paths.items, gather(lowest(raw)[None]).min(0).values)
    to_go = reward_to_go(step_values(learner, rewards), settings.gamma)
    part = takes_part(paths.length, to_go[..., 0], settings)
    acts = acting(paths.length, learner.catalogue.decoding.max_length) & part[..., None]
    drawn = rollout_sums(paths.items, paths.length, raw)
    *totals, n_paths = run.reduce(
        torch.stack([*drawn.values(), part.sum().double()]), reduction="sum"
    ).tolist()
    if n_paths == 0:
        raise TrainingError(
            "no path takes part: all are empty and dropped, or all rollouts of every prompt score alike"
        )
    in_first = (
        torch.arange(len(prompts), device=run.device)[run.process_index :: run.num_processes]
        < len(prompts) // 2
    )
    halves = passes_of_halves(learner, own, paths, to_go, acts, in_first)
    share = (len(prompts) // 2) / len(prompts)
    updates = [
        _update(learner, halves, share, int(n_paths), critic_alone=critic_alone)
        for _ in range(settings.updates_per_rollout)
    ]
    means = {name: sum(values[name] for values in updates) / len(updates) for name in updates[0]}
    return (
        rollout_curves(dict(zip(drawn, totals, strict=True)), len(prompts) * settings.n_rollouts)
        | means
        | {"train/kl_coefficient": learner.kl_coefficient}
    )


def step_values(learner: Learner, rewards: StepRewards) -> torch.Tensor:
    """What each step is worth, [b, m, t], by `finetune.centering`."""
    settings, max_length = learner.settings, learner.catalogue.decoding.max_length
    if settings.centering in ("none", "fixed_offset"):
        return uncentered(rewards, learner.moments, settings.weights, max_length, settings.offset or 0.0)
    return centered(rewards, learner.moments, settings.weights, max_length)


def takes_part(length: torch.Tensor, returns: torch.Tensor, settings: Finetune) -> torch.Tensor:
    """Which rollouts [b, m] count in baselines, loss and number of paths, from their `length` and `returns`
    [b, m].

    Not the empty ones where they are dropped, as in the released code; nor those of a prompt whose rollouts
    all have the same return, where such are skipped (dynamic sampling of DAPO, Yu et al. 2025, without
    drawing others in their place).
    """
    part = length > 0 if settings.empty_paths == "drop" else torch.ones_like(length, dtype=torch.bool)
    if settings.skip_alike:
        highest = returns.masked_fill(~part, -torch.inf).max(dim=1).values
        smallest = returns.masked_fill(~part, torch.inf).min(dim=1).values
        part = part & (highest - smallest > ALIKE)[:, None]
    return part


def _update(
    learner: Learner, halves: tuple[list[Pass], list[Pass]], share: float, n_paths: int, *, critic_alone: bool
) -> dict[str, float]:
    """One optimiser step on the passes of both halves of the prompts, `share` of them in the first; gives its
    curve values.
    """
    run, settings = learner.run, learner.settings
    sums = torch.zeros(len(LOSS_SUMS), dtype=torch.float64, device=run.device)
    gradients = []  # of the first half, and of both
    for passes in halves:
        for part in passes:
            loss, parts = pass_loss(learner, part, n_paths, critic_alone=critic_alone)
            run.backward(loss)
            sums += parts
        if not critic_alone:
            gradients.append(_gradient(learner))
    values = loss_curves(
        dict(zip(LOSS_SUMS, run.reduce(sums, reduction="sum").tolist(), strict=True)), n_paths
    )
    values |= {"train/gradient_variance": 0.0, "train/gradient_norm": 0.0}
    if not critic_alone:
        first, both = run.reduce(torch.stack(gradients), reduction="sum")
        if run.num_processes > 1:
            vector_to_parameters(both, [parameter.grad for parameter in learner.policy.parameters()])
        if share > 0:  # there are two halves
            values["train/gradient_variance"] = gradient_variance(first, both - first, share)
        values["train/gradient_norm"] = float(
            run.clip_grad_norm_(learner.policy.parameters(), settings.gradient_clip)
        )
    for name in ("train/loss", "train/gradient_norm"):
        if not math.isfinite(values[name]):
            raise TrainingError(f"the {name.removeprefix('train/').replace('_', ' ')} is {values[name]}")
    if learner.critic is None:
        del values["train/value_loss"]
    else:
        _update_critic(learner)
    if not critic_alone:
        learner.optimizer.step()
        learner.optimizer.zero_grad()
    return values


def _gradient(learner: Learner) -> torch.Tensor:
    """This process's gradient so far as one vector, a copy."""
    for parameter in learner.policy.parameters():
        if parameter.grad is None:  # a process may have no prompt of a half
            parameter.grad = torch.zeros_like(parameter)
    return parameters_to_vector(parameter.grad for parameter in learner.policy.parameters())


def _update_critic(learner: Learner) -> None:
    """One step of the critic, along the sum of the processes' gradients."""
    critic, optimizer = learner.critic.critic, learner.critic.optimizer
    for parameter in critic.parameters():
        parameter.grad = learner.run.reduce(parameter.grad, reduction="sum")
    torch.nn.utils.clip_grad_norm_(critic.parameters(), learner.settings.gradient_clip)
    optimizer.step()
    optimizer.zero_grad()


def loss_curves(sums: dict[str, float], n_paths: int) -> dict[str, float]:
    """Curve values from the `LOSS_SUMS` of all processes: KL in nats per path, entropy in nats per token."""
    actions = max(1.0, sums["actions"])
    return {
        "train/loss": sums["loss"],
        "train/kl": sums["kl"] / n_paths,
        "train/entropy": sums["entropy"] / max(1.0, sums["tokens"]),
        "train/clip_share": sums["clipped"] / actions,
        "train/advantage_variance": max(
            0.0, sums["advantage_square"] / actions - (sums["advantage"] / actions) ** 2
        ),
        "train/value_loss": sums["value_error"] / actions,
    }
