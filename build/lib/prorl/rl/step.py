"""Takes one step of the policy gradient: rollouts, rewards, advantages, and one or more updates on them.

Shape key: `b` prompts, `m` rollouts, `t` path position.
"""

import math
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from prorl.config.finetune import Finetune
from prorl.devices import summed
from prorl.errors import TrainingError
from prorl.prompts import Prompts
from prorl.rl.advantages import acting, reward_to_go
from prorl.rl.diagnostics import GradientVariance, rollout_curves, rollout_sums
from prorl.rl.estimators import Expecting
from prorl.rl.learner import Learner
from prorl.rl.passes import LOSS_SUMS, BeforeUpdates, Pass, in_passes, pass_loss
from prorl.rl.prefixes import likeliest, prefixes_of
from prorl.rl.prospects import Prospects, candidate_rewards, shares
from prorl.rl.rewards import RatedPaths, StepRewards, lowest, penalised, rewards_with, step_rewards
from prorl.rl.rollouts import draw
from prorl.rl.values import scales_within_prompts, step_values, values_by_reward, values_of_last, weighed
from prorl.simulators.protocol import branching

ALIKE = 1e-6  # returns that differ by no more are the same: rounding


def take_step(
    learner: Learner, prompts: Prompts, *, centering: bool, seed: int, warming_up: bool = False
) -> dict[str, float]:
    """The updates of one step on `prompts`, each process taking a share; gives the step's curve values.

    While `centering`, the rewards' moments are collected, and this batch is already normalised by them. While
    `warming_up`, the estimator learns alone. Raises `TrainingError`, before the update in question, where no
    path takes part or loss or gradient is not finite.
    """
    run, settings, catalogue = learner.run, learner.settings, learner.catalogue
    own = prompts[slice(run.process_index, None, run.num_processes)]
    variance = GradientVariance(learner.policy, len(prompts), run)
    with run.autocast():
        paths = draw(learner.policy, catalogue, own, settings.n_rollouts, settings.temperature, seed)
        rated = learner.rated(own, paths.items)
        raw = step_rewards(rated, rewards_with(settings.weights))
    if centering:
        learner.collect(raw)
    rewards = penalised(raw, paths.items, lowest_of_all(raw))
    to_go = reward_to_go(step_values(learner, rewards), settings.gamma)
    part = takes_part(paths.length, to_go[..., 0], settings)
    acts = acting(paths.length, catalogue.decoding.max_length) & part[..., None]
    scales = None
    if settings.normalise == "per_reward":
        by_reward = {
            name: reward_to_go(values, settings.gamma)
            for name, values in values_by_reward(learner, rewards).items()
        }
        scales = scales_within_prompts(by_reward, acts, learner.weights)
        to_go = weighed(by_reward, scales)
    prospects = None
    if isinstance(learner.estimator, Expecting):
        prospects = prospects_of(learner, learner.estimator.n_items_expected, own, rated, acts, scales)
        prospects = prospects.with_share(shares(to_go, acts, prospects))
        to_go = to_go - prospects.brought
    advantages = learner.estimator.advantages(to_go, acts)
    drawn = rollout_sums(paths.items, paths.length, raw)
    sums = torch.stack([*drawn.values(), part.sum().double()])
    *totals, n_paths = summed(run, sums).tolist()
    if n_paths == 0:
        raise TrainingError(
            "no path takes part: all are empty and dropped, or all rollouts of every prompt score alike"
        )
    passes = in_passes(catalogue, own, paths, to_go, acts, advantages, variance.first_half, prospects)
    before: list[BeforeUpdates | None] = [None] * len(passes)
    updates = []
    for _ in range(settings.updates_per_rollout):
        values, before = _update(learner, passes, before, int(n_paths), variance, warming_up=warming_up)
        updates.append(values)
    means = {name: sum(values[name] for values in updates) / len(updates) for name in updates[0]}
    return (
        rollout_curves(dict(zip(drawn, totals, strict=True)), len(prompts) * settings.n_rollouts)
        | means
        | {"train/kl_coefficient": learner.kl_coefficient}
    )


def lowest_of_all(rewards: StepRewards) -> torch.Tensor:
    """The `lowest` rewards [r] of the whole batch, over all processes."""
    return cast(torch.Tensor, gather(lowest(rewards)[None])).min(0).values


def prospects_of(
    learner: Learner,
    n_items: int,
    prompts: Prompts,
    rated: RatedPaths,
    acts: torch.Tensor,
    scales: dict[str, torch.Tensor] | None,
) -> Prospects:
    """The prospects of rollouts as they are `rated`, over the `n_items` likeliest items at every prefix that
    one `acts` at [b, m, t+1]; `scales` [b, 1, t+1] are those of the rewards, where they are normalised.
    """
    settings, simulator = learner.settings, learner.simulator
    prefixes = prefixes_of(rated.items, acts)
    with learner.run.autocast():
        candidates = likeliest(
            learner.policy, learner.catalogue, prompts, prefixes, n_items, settings.temperature
        )
    names = rewards_with(settings.weights)
    branches = branching(simulator, settings.simulator, "params.yaml: finetune.simulator")
    rewards = candidate_rewards(branches, prompts, rated, prefixes, candidates, names)
    values = []
    for t, (level, own) in enumerate(zip(prefixes, rewards, strict=True)):
        at = None if scales is None else {name: scale[level.prompt, :, t] for name, scale in scales.items()}
        values.append(values_of_last(learner, own, at))
    return Prospects.of(rated.items, prefixes, candidates, values)


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
    learner: Learner,
    passes: list[Pass],
    before: list[BeforeUpdates | None],
    n_paths: int,
    variance: GradientVariance,
    *,
    warming_up: bool,
) -> tuple[dict[str, float], list[BeforeUpdates | None]]:
    """One optimiser step on all passes; gives its curve values, and what the next one needs of each pass."""
    run, settings, policy = learner.run, learner.settings, learner.policy
    sums = torch.zeros(len(LOSS_SUMS), dtype=torch.float64, device=run.device)
    after: list[BeforeUpdates | None] = []
    watched = passes if warming_up else variance.watch(passes)
    for part, known in zip(watched, before, strict=True):
        found = pass_loss(learner, part, n_paths, known, warming_up=warming_up)
        run.backward(found.loss)
        sums += found.sums
        after.append(found.before)
    totals: dict[str, float] = dict(zip(LOSS_SUMS, summed(run, sums).tolist(), strict=True))
    values = loss_curves(totals, n_paths, learner.estimator.loss_name)
    values |= {"train/gradient_variance": 0.0, "train/gradient_norm": 0.0}
    if not warming_up:
        sum_gradients(policy, run)
        values["train/gradient_variance"] = variance.value()
        norm = run.clip_grad_norm_(policy.parameters(), settings.gradient_clip)
        values["train/gradient_norm"] = float(cast(torch.Tensor, norm))
    for name in ("train/loss", "train/gradient_norm"):
        if not math.isfinite(values[name]):
            raise TrainingError(f"the {name.removeprefix('train/').replace('_', ' ')} is {values[name]}")
    learner.estimator.step(run, settings.gradient_clip)
    if not warming_up:
        learner.optimizer.step()
        learner.optimizer.zero_grad()
    return values, after


def sum_gradients(model: nn.Module, run: Accelerator) -> None:
    """Give every weight of `model` the sum of its gradients over all processes, 0 where there is none."""
    gradients = []
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    if run.num_processes > 1:
        vector_to_parameters(summed(run, parameters_to_vector(gradients)), gradients)


def loss_curves(sums: dict[str, float], n_paths: int, loss_name: str | None) -> dict[str, float]:
    """Curve values from the `LOSS_SUMS` of all processes: KL in nats per path, entropy in nats per token; the
    estimator's own loss per action, where it has the name `loss_name`.
    """
    actions = max(1.0, sums["actions"])
    variance = sums["advantage_square"] / actions - (sums["advantage"] / actions) ** 2
    curves = {
        "train/loss": sums["loss"],
        "train/kl": sums["kl"] / n_paths,
        "train/entropy": sums["entropy"] / max(1.0, sums["tokens"]),
        "train/clip_share": sums["clipped"] / actions,
        "train/advantage_variance": max(0.0, variance),
    }
    if loss_name is not None:
        curves[f"train/{loss_name}"] = sums["estimator_loss"] / actions
    return curves
