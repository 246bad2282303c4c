"""Two critics, after RLUR: an actor weighs three predictions of every candidate, and the one that comes out
best is shown.

Source: Cai et al., "Reinforcing User Retention in a Billion Scale Short Video Recommender System" (RLUR), WWW
2023 companion, arXiv 2302.01724: a deterministic actor (DDPG) gives weights between 0 and 4 that combine
predictions into the ranking score; one critic learns immediate feedback, another the delayed one.

It is not RLUR: MovieLens knows no returning. Here the predictions are the candidate's acceptance (its
logarithm), the target's gain in log-probability and its gain in rank, each standardised over the candidates;
the immediate critic learns the acceptance to come, the delayed one, undiscounted, the interest gained by the
end of the path. There is no bonus for novelty, no normalised returning time, no separate policy for rare
users, and no regulariser towards the logged policy, as there is no log. Critics see the weights' shares
alone. The predictions ask the simulator about each candidate, as search does.
Shape key: `r` shown items, `c` candidates, `s` statistics of a state.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.rivals import TwoCriticsSettings
from prorl.devices import accelerator
from prorl.guide import GuideContext
from prorl.guides.features import (
    Standard,
    load_fitted,
    new_network,
    part_of,
    save_fitted,
    standardised,
    training_prompts,
)
from prorl.guides.replay import Learnt, Replay, follow
from prorl.guides.stepping import mean_outcomes, write_paths
from prorl.guides.walks import Candidates, Look, Outcome, Walk, World
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.training import Session, adamw

N_PREDICTIONS = 3
N_STATISTICS = 10
SCALING_PROMPTS = 64  # whose paths statistics are standardised on
JUDGED_PROMPTS = 64  # whose paths the best weights are chosen by
JUDGED_EVERY = 10  # steps


@dataclass(frozen=True)
class View:
    """A walk and what its candidates promise: predictions [r, c, 3] and the state's statistics [r, s]."""

    walk: Walk
    found: Candidates
    look: Look
    predictions: torch.Tensor
    statistics: torch.Tensor

    @classmethod
    def of(cls, walk: Walk) -> "View":
        """Looks at every candidate."""
        found = walk.candidates
        look = walk.look(found.items)
        promised = walk.promised(found.items, look)
        kinds = (promised.acceptance.log(), promised.gain, promised.rank_gain)
        predictions = torch.stack([standardised(kind, found.allowed) for kind in kinds], dim=-1)
        return cls(walk, found, look, predictions, _statistics(walk, found, promised))

    def shown(self, weights: torch.Tensor) -> Walk:
        """The walk in which the candidates that come out best by `weights` [r, 3] are shown."""
        scores = (self.predictions * weights[:, None]).sum(-1)
        return self.walk.taking(self.found.items, self.look, self.found.best(scores))


def _statistics(walk: Walk, found: Candidates, promised: Outcome) -> torch.Tensor:
    """What actor and critics know of a state, [r, s]: the target's place, the position, and the mean and the
    most of what candidates promise.
    """
    parts = [
        walk.target_log_prob,
        walk.target_rank.float().log(),
        found.feature("state_near_target")[:, 0],
        found.feature("position")[:, 0],
    ]
    for values in (promised.acceptance, promised.gain, promised.rank_gain):
        parts.append((values * found.allowed).sum(1) / found.allowed.sum(1))
        parts.append(values.masked_fill(~found.allowed, -torch.inf).max(1).values)
    return torch.stack(parts, dim=1)


class Networks(nn.Module):
    """The actor, and the critics of what is immediate and of what is delayed."""

    def __init__(self, settings: TwoCriticsSettings, context: GuideContext):
        super().__init__()
        self.largest, n = settings.largest, N_STATISTICS + N_PREDICTIONS
        self.actor = new_network(N_STATISTICS, settings.hidden_size, N_PREDICTIONS, context, "actor")
        self.immediate = new_network(n, settings.hidden_size, 1, context, "immediate")
        self.delayed = new_network(n, settings.hidden_size, 1, context, "delayed")

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Weights [r, 3] between 0 and the largest, at standardised statistics `x` [r, s]."""
        return self.largest * self.actor(x).sigmoid()

    def values(self, x: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the immediate and the delayed critic expect, each [r].

        They see the weights' shares: with all of them doubled the same items are shown, and a critic that
        made a difference there would drive all weights to one end.
        """
        shares = weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
        both = torch.cat([x, N_PREDICTIONS * shares - 1], dim=1)
        return self.immediate(both)[:, 0], self.delayed(both)[:, 0]


def aims(target: Networks, rows: dict[str, torch.Tensor], gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What the critics are to say, each [r]: acceptance discounted by `gamma`, and the interest gained in the
    end, which only the last item brings.
    """
    immediate, delayed = target.values(rows["next"], target.weights(rows["next"]))
    goes_on = ~rows["done"]
    return rows["acceptance"] + gamma * immediate * goes_on, torch.where(goes_on, delayed, rows["interest"])


def fit(settings: TwoCriticsSettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Train actor and critics on the simulator; see `GuideEntry.fit`.

    The weights kept are those whose paths of some training prompts, which nothing is learnt from, are best by
    `settings.weights` of acceptances and interest. Figures: that score and its step, and the mean weights
    that the actor gives.
    """
    world = World.of(settings.simulator, settings.n_candidates, context)
    n_items = world.simulator.n_items
    scaling, judged = (
        training_prompts(context, n_items, n, purpose)
        for n, purpose in ((SCALING_PROMPTS, "scaling"), (JUDGED_PROMPTS, "judged"))
    )
    seed = derived_seed(context.seed, context.key, "walks")
    standard = _standard(world, scaling, settings.largest, seed)
    online = Networks(settings, context)
    target, replay, run = copy.deepcopy(online), Replay(settings.replay), accelerator("float32")
    critics = nn.ModuleList([online.immediate, online.delayed])
    optimizers: dict[str, torch.optim.Optimizer] = {
        "actor_optimizer": adamw(online.actor, settings.learning_rate, weight_decay=0.0),
        "critics_optimizer": adamw(critics, settings.learning_rate, weight_decay=0.0),
    }
    modules = Modules({"online": online, "target": target, **optimizers})
    training = session.begin(run, online, Learnt(modules, replay))
    prompts = training_prompts(context, n_items, settings.steps * settings.batch_size, "prompts")
    for step in training.steps(settings.steps):
        generator = torch.Generator().manual_seed(derived_seed(context.seed, context.key, "step", step))
        rows = slice((step - 1) * settings.batch_size, step * settings.batch_size)

        def exploring(x: torch.Tensor, generator: torch.Generator = generator) -> torch.Tensor:
            noise = settings.noise * torch.randn(len(x), N_PREDICTIONS, generator=generator)
            return (online.weights(x) + noise.to(x.device)).clamp(0, settings.largest)

        losses = []
        for row in _shown(world, prompts[rows], standard, exploring):
            replay.add(row)
            losses.append(_update(settings, online, target, optimizers, replay, generator))
        if step % JUDGED_EVERY == 0 or step == settings.steps:
            means = _judged(settings, world, judged, TwoCriticsGuide(world, standard, online))
            training.keep_best(step, means["score"])
            told = {"train/loss": sum(losses) / len(losses)}
            training.log(step, told | {f"judged/{name}": value for name, value in means.items()})
            training.save()
    training.finish()
    save_fitted(
        context, {"mean": standard.mean, "scale": standard.scale, **Modules({"online": online}).tensors()}
    )
    with torch.no_grad():
        found = [online.weights(row["x"]) for row in _shown(world, judged, standard, online.weights)]
    names = ("weight_acceptance", "weight_gain", "weight_rank_gain")
    mean = torch.cat(found).mean(0).tolist()
    return {
        "best_step": training.best_step,
        "judged_score": training.best_score,
        **dict(zip(names, mean, strict=True)),
    }


@torch.no_grad()
def _shown(
    world: World, prompts: Prompts, standard: Standard, act: Callable[[torch.Tensor], torch.Tensor]
) -> list[dict[str, torch.Tensor]]:
    """The rows for the replay of the paths of `prompts`, step by step, with weights by `act`.

    A row is complete when the next state is seen, so a path's last one holds its own state as the next.
    """
    found: list[dict[str, torch.Tensor]] = []
    view = View.of(world.start(prompts))
    before = view.walk.target_log_prob
    while len(view.walk):
        x = standard(view.statistics)
        weights = act(x)
        after = view.shown(weights)
        done, acceptance = after.ended, after.outcome(view.walk).acceptance
        row = {
            "x": x,
            "weights": weights,
            "acceptance": acceptance,
            "interest": after.target_log_prob - before,
            "done": done,
            "next": x.clone(),
        }
        found.append(row)
        if done.all():
            break
        view, before = View.of(after.where(~done)), before[~done]
        row["next"][~done] = standard(view.statistics)
    return found


def _update(
    settings: TwoCriticsSettings,
    online: Networks,
    target: Networks,
    optimizers: dict[str, torch.optim.Optimizer],
    replay: Replay,
    generator: torch.Generator,
) -> float:
    """One step of the critics, then one of the actor; gives the critics' loss."""
    rows = replay.sample(settings.update_size, generator)
    with torch.no_grad():
        aimed = aims(target, rows, settings.gamma)
    found = online.values(rows["x"], rows["weights"])
    loss = sum((F.mse_loss(own, aim) for own, aim in zip(found, aimed, strict=True)), torch.zeros(()))
    _step(optimizers["critics_optimizer"], loss)
    immediate, delayed = online.values(rows["x"], online.weights(rows["x"]))
    worth = settings.weights.immediate * immediate + settings.weights.delayed * delayed
    _step(optimizers["actor_optimizer"], -worth.mean())
    follow(target, online, settings.polyak)
    return loss.item()


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
        parameter.grad = gradient
    optimizer.step()


def _standard(world: World, prompts: Prompts, largest: float, seed: int) -> Standard:
    """That of the statistics of paths with weights drawn uniformly with `seed`."""
    generator, found = torch.Generator().manual_seed(seed), []

    def step(walk: Walk) -> Walk:
        view = View.of(walk)
        found.append(view.statistics)
        weights = largest * torch.rand(len(walk), N_PREDICTIONS, generator=generator)
        return view.shown(weights.to(view.statistics.device))

    write_paths(world, prompts, step)
    return Standard.of(torch.cat(found))


def _judged(
    settings: TwoCriticsSettings, world: World, prompts: Prompts, guide: "TwoCriticsGuide"
) -> dict[str, float]:
    """IoI, CTR and coherence of the guide's paths, and the score: what the critics learn, as they are
    weighed.
    """

    def reward(outcome: Outcome) -> torch.Tensor:
        return settings.weights.immediate * outcome.acceptance + settings.weights.delayed * outcome.gain

    means = mean_outcomes(world, prompts, guide.step, reward)
    return {"score": means.pop("reward"), **means}


@dataclass(frozen=True)
class TwoCriticsGuide:
    """Shows what comes out best by the actor's weights."""

    world: World
    standard: Standard
    networks: Networks

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.world.simulator.n_items

    @torch.no_grad()
    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return write_paths(self.world, prompts, self.step)

    def step(self, walk: Walk) -> Walk:
        """The walk with the best candidates shown."""
        view = View.of(walk)
        return view.shown(self.networks.weights(self.standard(view.statistics)))

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: those of the history, and at each step one for every candidate."""
        return prompts.history.shape[1] + (paths != 0).sum(1) * self.world.n_looked_at


def build(settings: TwoCriticsSettings, context: GuideContext) -> TwoCriticsGuide:
    """The guide of the fitted actor."""
    world, fitted = World.of(settings.simulator, settings.n_candidates, context), load_fitted(context)
    networks = Networks(settings, context)
    networks.load_state_dict(part_of(fitted, "online"))
    return TwoCriticsGuide(world, Standard(fitted["mean"], fitted["scale"]), networks)
