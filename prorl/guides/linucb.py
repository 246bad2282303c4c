"""LinUCB: one linear model of what an item gains, and a bonus for what it does not know yet.

Source: Li, Chu, Langford, Schapire, "A contextual-bandit approach to personalized news article
recommendation", WWW 2010. With x the features of history, target and item: A = ridge I + sum x x',
b = sum r x, theta = A^-1 b, and an item's score is theta . x + alpha sqrt(x' A^-1 x). A^-1 follows each x by
Sherman and Morrison's formula, and is solved for anew every 1,000 of them, against drift.

It departs in this: all items share one model, as a model for each of hundreds of items learns nothing from a
few ten thousand interactions; features are standardised on paths of training prompts; what a batch of prompts
is shown is learnt from when all have been shown it; rewards are less the mean of those before.

It is myopic: the reward is what one step gains in interest, with acceptance and coherence, so it is iterative
guidance (IPG) with learnt weights. It is there as a check before any reinforcement learning: features and
rewards are of use if it comes far below the regret of random choice, and near that of the best fixed rule.
Shape key: `r` paths under way, `c` candidates, `f` features and a constant.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config.rivals import LinUCBSettings
from prorl.errors import TrainingError
from prorl.guide import GuideContext
from prorl.guides.features import (
    CandidateGuide,
    Standard,
    load_fitted,
    save_fitted,
    training_prompts,
)
from prorl.guides.stepping import steps
from prorl.guides.walks import Candidates, Outcome, Walk, World
from prorl.runtime import progress
from prorl.training import Session

REFRESHED_EVERY = 1000  # interactions between two solutions for the inverse
MEASURED_EVERY = 8  # batches of which one is measured: all its candidates are looked at
RULES = ("acceptance", "near_target", "ipg")  # features that are fixed rules to compare with


@dataclass
class LinearBandit:
    """What is known after some interactions, in float64: A and its inverse [f, f], and b [f]."""

    n_features: int
    ridge: float
    n_updates: int = 0
    a: np.ndarray = field(init=False)
    inverse: np.ndarray = field(init=False)
    b: np.ndarray = field(init=False)

    def __post_init__(self):
        self.a = self.ridge * np.eye(self.n_features)
        self.inverse = np.eye(self.n_features) / self.ridge
        self.b = np.zeros(self.n_features)

    @property
    def theta(self) -> np.ndarray:
        """The weights [f] of the features."""
        return self.inverse @ self.b

    def width(self, x: np.ndarray) -> np.ndarray:
        """The deviation of the estimate at features `x` [.., f], in deviations of the reward."""
        return np.sqrt(((x @ self.inverse) * x).sum(-1))

    def learn(self, x: np.ndarray, reward: float) -> None:
        """Take in the `reward` of an item with features `x` [f]."""
        self.a += np.outer(x, x)
        self.b += reward * x
        self.n_updates += 1
        if self.n_updates % REFRESHED_EVERY == 0:
            self.inverse = np.linalg.inv(self.a)
            return
        known = self.inverse @ x
        self.inverse -= np.outer(known, known) / (1 + x @ known)


def rewards(outcome: Outcome, settings: LinUCBSettings) -> torch.Tensor:
    """What items have gained: interest, and what acceptance and coherence count, as search has it."""
    accepted = settings.weights.ctr * outcome.acceptance.log()
    return outcome.gain + accepted - settings.weights.coherence * ~outcome.coherent


def fit(settings: LinUCBSettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Show items and learn from them; see `GuideEntry.fit`.

    Figures: the mean regret of an interaction, against the best candidate, in the first and the last tenth,
    that of random choice and of fixed rules on the same candidates, and the exploration rate: how often the
    bonus changed the choice.
    """
    world = World.of(settings.simulator, settings.n_candidates, context)
    n_items, longest = world.simulator.n_items, context.decoding.max_length
    standard = Standard.of_candidates(world, context)
    bandit = LinearBandit(len(standard.mean) + 1, settings.ridge)
    n_batches = -(-settings.interactions // (settings.batch_size * longest))
    prompts = training_prompts(context, n_items, n_batches * settings.batch_size, "prompts")
    total, explored, regrets = 0.0, [], []
    batches = torch.arange(len(prompts), device=context.device).split(settings.batch_size)
    shown = progress(batches, description=session.name, unit="batch", every_seconds=session.every_seconds)
    for i, rows in enumerate(shown):
        measured = []

        def step(walk: Walk, i: int = i, measured: list = measured) -> Walk:
            candidates = walk.candidates
            x = with_constant(standard(candidates.features)).double().cpu().numpy()
            estimate, width = x @ bandit.theta, bandit.width(x)
            raised, plain = (
                candidates.best(torch.from_numpy(scores).to(context.device))
                for scores in (estimate + settings.alpha * width, estimate)
            )
            explored.append((i, (raised != plain).double().mean().item()))
            if i % MEASURED_EVERY == 0:
                measured.append(_regrets(walk, candidates, raised, settings))
            return walk.after(candidates.at(raised))

        for before, after in steps(world.start(prompts[rows]), step):
            x = with_constant(standard(_features_of(before, after.item))).double().cpu().numpy()
            for own, reward in zip(x, rewards(after.outcome(before), settings).tolist(), strict=True):
                bandit.learn(own, reward - total / max(1, bandit.n_updates))
                total += reward
        if not math.isfinite(total) or not np.isfinite(bandit.theta).all():
            raise TrainingError(
                f"a reward is not finite, at batch {i + 1}; nothing is kept before the last one"
            )
        regrets += [(i, one) for one in measured]
    save_fitted(
        context,
        {"theta": torch.from_numpy(bandit.theta), "mean": standard.mean, "scale": standard.scale},
    )
    return {"interactions": bandit.n_updates, "mean_reward": total / bandit.n_updates} | _figures(
        explored, regrets, n_batches
    )


def with_constant(features: torch.Tensor) -> torch.Tensor:
    """Features [.., f - 1] and a last one that is always 1."""
    return F.pad(features, (0, 1), value=1.0)


def _features_of(walk: Walk, items: torch.Tensor) -> torch.Tensor:
    """Features [r, f - 1] of `items` [r], which are candidates of the walk."""
    candidates = walk.candidates
    place = (candidates.items == items[:, None]).to(torch.int8).argmax(1)
    return candidates.features[torch.arange(len(items), device=place.device), place]


def _regrets(
    walk: Walk, candidates: Candidates, chosen: torch.Tensor, settings: LinUCBSettings
) -> dict[str, float]:
    """What was lost against the best candidate, on average: by the `chosen` places [r], by fixed rules and by
    random choice.
    """
    allowed = candidates.allowed
    promised = rewards(walk.promised(candidates.items, walk.look(candidates.items)), settings)
    best = promised.masked_fill(~allowed, -torch.inf).max(1).values
    places = {"bandit": chosen} | {rule: candidates.best(candidates.feature(rule)) for rule in RULES}
    reached = {name: promised.gather(1, place[:, None])[:, 0] for name, place in places.items()}
    reached["random"] = (promised * allowed).sum(1) / allowed.sum(1)
    return {name: (best - own).double().mean().item() for name, own in reached.items()}


def _figures(
    explored: list[tuple[int, float]], regrets: list[tuple[int, dict[str, float]]], n_batches: int
) -> dict[str, float]:
    """Means over the first and the last tenth of the batches; of fixed rules over all."""
    first, last = -(-n_batches // 10), n_batches - -(-n_batches // 10)
    last = min(last, max(i for i, _ in regrets))  # the last measured batch at least
    found = {
        "regret_first_tenth": np.mean([own["bandit"] for i, own in regrets if i < first]),
        "regret_last_tenth": np.mean([own["bandit"] for i, own in regrets if i >= last]),
        **{f"regret_{rule}": np.mean([own[rule] for _, own in regrets]) for rule in ("random", *RULES)},
        "exploration_first_tenth": np.mean([rate for i, rate in explored if i < first]),
        "exploration_last_tenth": np.mean([rate for i, rate in explored if i >= last]),
    }
    return {name: float(value) for name, value in found.items()}


def build(settings: LinUCBSettings, context: GuideContext) -> CandidateGuide:
    """The guide that shows what the fitted model expects most of, without the bonus."""
    world, fitted = World.of(settings.simulator, settings.n_candidates, context), load_fitted(context)
    standard, theta = Standard(fitted["mean"], fitted["scale"]), fitted["theta"].float()
    return CandidateGuide(world, lambda candidates: with_constant(standard(candidates.features)) @ theta)
