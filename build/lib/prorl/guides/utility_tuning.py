"""Weights of a utility chosen for each prompt, after DRL-PUT; and its baseline, the sweep of fixed weights.

Source: "Deep Reinforcement Learning for Ranking Utility Tuning in the Ad Recommender System at Pinterest"
(DRL-PUT), arXiv 2509.05292: the weights of a ranking utility are discrete actions of one request; one network
(batch norm, linear, ReLU) with a softmax over all of them learns by REINFORCE with a single step from logs
whose weights were drawn uniformly, so that no importance weights are needed; the likeliest action serves.

It is not DRL-PUT: the utility is of guidance. An item's utility is the weighted sum of the logarithm of its
acceptance, its cosine with the target and whether it shares an attribute with the item before it, the first
two standardised over the candidates; one choice of weights holds for a whole path. The reward is the path's
IoI, with its CTR and coherence as weighed. It is normalised by mean and deviation of the log and cut at 3
deviations; `minmax` is as described, by the least and the most of a batch, and depends on one outlier.
Relative gain is read as the self-normalised value of the likeliest action on logged prompts held out, over
the mean there.

If weights for each prompt are not above the best fixed ones, the figures say so: `policy_reward` and
`fixed_reward` are of the same held-out prompts. `sweep` is what every combination reaches, a frontier.
Shape key: `b` prompts, `a` combinations of weights, `s` statistics of a prompt, `r` paths under way, `c`
candidates.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.rivals import UtilityTuningSettings
from prorl.devices import accelerator
from prorl.guide import GuideContext
from prorl.guides.features import (
    load_fitted,
    part_of,
    save_fitted,
    standardised,
    training_prompts,
)
from prorl.guides.stepping import BATCH_SIZE, path_outcomes, write_paths
from prorl.guides.walks import Candidates, Outcome, Walk, World
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.training import Session, adamw

N_STATISTICS = 8
VALIDATED_EVERY = 10  # steps


def combinations(levels: list[float], device: torch.device) -> torch.Tensor:
    """All weights [a, 3] of acceptance, nearness to the target and coherence."""
    return torch.tensor(list(itertools.product(levels, repeat=3)), device=device)


def statistics(walk: Walk) -> torch.Tensor:
    """What is known of prompts, [b, s], at their start: the target's place, and the mean and the most of what
    the candidates' acceptance and nearness are.
    """
    found = walk.candidates
    parts = [
        walk.target_log_prob,
        walk.target_rank.float().log(),
        found.feature("state_near_target")[:, 0],
        walk.world.log_popularity[walk.target],
    ]
    for name in ("acceptance", "near_target"):
        values = found.feature(name)
        parts.append((values * found.allowed).sum(1) / found.allowed.sum(1))
        parts.append(values.masked_fill(~found.allowed, -torch.inf).max(1).values)
    return torch.stack(parts, dim=1)


def utility(found: Candidates, weights: torch.Tensor) -> torch.Tensor:
    """The utility [r, c] of candidates under `weights` [r, 3]."""
    accepted, near = (
        standardised(found.feature(name), found.allowed) for name in ("log_acceptance", "near_target")
    )
    kinds = torch.stack([accepted, near, found.feature("coherent")], dim=-1)
    return (kinds * weights[:, None]).sum(-1)


def shown_by(weights: torch.Tensor, walk: Walk) -> Walk:
    """The walk in which the best candidates by `weights` [b, 3] of the prompts are shown."""
    found = walk.candidates
    return walk.after(found.at(found.best(utility(found, weights[walk.row]))))


def path_rewards(
    world: World, prompts: Prompts, weights: torch.Tensor, settings: UtilityTuningSettings
) -> dict[str, torch.Tensor]:
    """The reward [b] of the paths by `weights` [b, 3], and the IoI, CTR and coherence that make it."""
    parts = []
    for rows in torch.arange(len(prompts), device=weights.device).split(BATCH_SIZE):
        own = weights[rows]
        parts.append(path_outcomes(world, prompts[rows], lambda walk, own=own: shown_by(own, walk), _gain))
    found = {name: torch.cat([part[name] for part in parts]) for name in ("ioi", "ctr", "coherence")}
    counted = settings.weights.ctr * found["ctr"] + settings.weights.coherence * found["coherence"]
    return {"reward": found["ioi"] + counted, **found}


def _gain(outcome: Outcome) -> torch.Tensor:
    return outcome.gain


def chooser(settings: UtilityTuningSettings) -> nn.Sequential:
    """The network: scores [b, a] of all combinations from statistics [b, s]."""
    return nn.Sequential(
        nn.BatchNorm1d(N_STATISTICS),
        nn.Linear(N_STATISTICS, settings.hidden_size),
        nn.ReLU(),
        nn.Linear(settings.hidden_size, len(settings.levels) ** 3),
    )


def self_normalised(shares: torch.Tensor, reward: torch.Tensor) -> float:
    """The value of a policy that takes the logged actions with `shares` [b], where the log drew them
    uniformly; NaN where it takes none of them.
    """
    return ((shares * reward).sum() / shares.sum()).item()


def normalised(reward: torch.Tensor, kind: str, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Rewards [b] of a batch as the loss takes them; mean and deviation are those of the log."""
    if kind == "standard":
        return ((reward - mean) / deviation.clamp(min=1e-6)).clamp(-3, 3)
    return (reward - reward.min()) / (reward.max() - reward.min()).clamp(min=1e-6)


@dataclass(frozen=True)
class Logged:
    """Statistics [b, s], the combination [b] that was drawn, and the path's reward [b]."""

    x: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor


def fit(settings: UtilityTuningSettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Log paths with weights drawn uniformly, sweep fixed weights, and learn; see `GuideEntry.fit`.

    The weights of the network that are kept have the highest self-normalised value on the fifth of the log
    that is held out. Figures: see the module; `relative_gain` is null where no held-out action is the
    likeliest.
    """
    world = World.of(settings.simulator, settings.n_candidates, context)
    actions, n_items = combinations(settings.levels, context.device), world.simulator.n_items
    prompts = training_prompts(context, n_items, settings.logged, "log")
    generator = torch.Generator().manual_seed(derived_seed(context.seed, context.key, "log drawn"))
    drawn = torch.randint(len(actions), (len(prompts),), generator=generator).to(context.device)
    reward = path_rewards(world, prompts, actions[drawn], settings)["reward"].float().to(context.device)
    log = Logged(_statistics(world, prompts), drawn, reward)
    n_held_out = max(1, settings.logged // 5)
    log, held_out = (
        Logged(log.x[rows], log.action[rows], log.reward[rows])
        for rows in (slice(n_held_out, None), slice(n_held_out))
    )
    network = _learn(settings, context, session, log, held_out)
    swept = training_prompts(context, n_items, settings.swept, "swept")
    shown = progress(actions, description="sweep", unit="setting", every_seconds=session.every_seconds)
    sweep = [path_rewards(world, swept, one.expand(len(swept), 3), settings) for one in shown]
    fixed = max(range(len(actions)), key=lambda i: sweep[i]["reward"].mean().item())
    save_fitted(context, Modules({"network": network}).tensors())
    own = prompts[:n_held_out]
    with torch.no_grad():
        likeliest = network(held_out.x).argmax(1)
    matched = held_out.action == likeliest
    gain = self_normalised(matched.float(), held_out.reward) / held_out.reward.mean().item() - 1
    return {
        "policy_reward": path_rewards(world, own, actions[likeliest], settings)["reward"].mean().item(),
        "fixed_reward": path_rewards(world, own, actions[fixed].expand(len(own), 3), settings)["reward"]
        .mean()
        .item(),
        "fixed_weights": actions[fixed].tolist(),
        "chosen_combinations": len(likeliest.unique()),
        "relative_gain": gain if matched.any() else None,
        "sweep": [
            {"weights": one.tolist(), **{name: values.mean().item() for name, values in found.items()}}
            for one, found in zip(actions, sweep, strict=True)
        ],
    }


def _learn(
    settings: UtilityTuningSettings, context: GuideContext, session: Session, log: Logged, held_out: Logged
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(context.seed, context.key, "network"))
        network = chooser(settings).to(context.device)
    optimizer = adamw(network, settings.learning_rate, weight_decay=0.0)
    resumable = Modules({"network": network, "optimizer": optimizer})
    training = session.begin(accelerator("float32"), network, resumable)
    mean, deviation = log.reward.mean(), log.reward.std()
    for step in training.steps(settings.steps):
        seed = derived_seed(context.seed, context.key, "step", step)
        rows = torch.randint(
            len(log.reward), (settings.batch_size,), generator=torch.Generator().manual_seed(seed)
        )
        rows = rows.to(context.device)
        log_pi = network.train()(log.x[rows]).log_softmax(1).gather(1, log.action[rows][:, None])[:, 0]
        loss = -(normalised(log.reward[rows], settings.normalise, mean, deviation) * log_pi).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % VALIDATED_EVERY == 0 or step == settings.steps:
            with torch.no_grad():
                shares = network.eval()(held_out.x).softmax(1).gather(1, held_out.action[:, None])[:, 0]
            value = self_normalised(shares, held_out.reward)
            training.keep_best(step, value)
            training.log(step, {"train/loss": loss.item(), "validation/value": value})
            training.save()
    training.finish()
    return network.eval()


@torch.no_grad()
def _statistics(world: World, prompts: Prompts) -> torch.Tensor:
    batches = torch.arange(len(prompts), device=prompts.target.device).split(BATCH_SIZE)
    return torch.cat([statistics(world.start(prompts[rows])) for rows in batches])


@dataclass(frozen=True)
class UtilityTuningGuide:
    """Chooses weights once for each prompt, and shows the items of the highest utility."""

    world: World
    network: nn.Module
    actions: torch.Tensor

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.world.simulator.n_items

    @torch.no_grad()
    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        parts = []
        for rows in torch.arange(len(prompts), device=prompts.target.device).split(BATCH_SIZE):
            batch = prompts[rows]
            weights = self.actions[self.network(_statistics(self.world, batch)).argmax(1)]
            parts.append(write_paths(self.world, batch, lambda walk, own=weights: shown_by(own, walk)))
        return torch.cat(parts)

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: one for each item of the path, and twice those of the history, which is
        also read to choose the weights.
        """
        return 2 * prompts.history.shape[1] + (paths != 0).sum(1)


def build(settings: UtilityTuningSettings, context: GuideContext) -> UtilityTuningGuide:
    """The guide of the fitted network."""
    world, fitted = World.of(settings.simulator, settings.n_candidates, context), load_fitted(context)
    network = chooser(settings)
    network.load_state_dict(part_of(fitted, "network"))
    actions = combinations(settings.levels, context.device)
    return UtilityTuningGuide(world, network.eval().to(context.device), actions)
