"""Which guide to deploy towards a target, chosen from partly finished paths.

Source: McDonald et al., "Impatient Bandits", KDD 2023; its formulas are in `prorl.guides.beliefs`.

Here an arm is a guide towards a target, and every guide has a prior of its own, from past targets. A trace
holds the acceptance of the items of a path, one a day, 0 behind its end, and last the path's outcome: IoI and
its CTR as weighed, which alone counts. In the source activities are 0 or 1 and their sum counts; here
acceptances are the simulator's probabilities. Nothing was ever shown towards a new target, so its arms start
from the prior: a cold start. Past arms have few users, so the noise of their means is taken off S.
That a hard target is hard for every guide is not made use of: beliefs of guides are independent.

The guide then takes for each target the guide with the best expected outcome. Nothing is personal but the
paths.
Shape key: `a` past arms, `u` users, `w` days of a trace and its outcome, `k` days seen, `g` guides, `j` new
targets, `b` prompts.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from prorl.config.rivals import ImpatientSettings
from prorl.config.section import Settings
from prorl.errors import DataError
from prorl.guide import CostedGuide, Guide, GuideContext, GuideData, GuideEntry
from prorl.guides.beliefs import Prior, explained
from prorl.guides.features import load_fitted, save_fitted
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.simulators.protocol import Simulator
from prorl.training import Session

MEASURED_TARGETS = 24  # new targets towards which every guide is also tried in full, for the figures
MEASURED_USERS = 32  # who try each guide there
KNOWN = 0.9  # share of right choices at which guides count as known
ROUNDS = 1000  # of drawing users who do not know a target
PATHS_AT_ONCE = 256

Part = tuple[GuideEntry, Settings, GuideContext]


@dataclass(frozen=True)
class Trial:
    """Guides tried by simulated users."""

    guides: Sequence[Guide]
    simulator: Simulator
    ctr: float
    max_length: int

    @torch.no_grad()
    def traces(self, guide: int, prompts: Prompts) -> np.ndarray:
        """The trace [b, w] of each of `prompts` under a guide."""
        found = []
        for rows in torch.arange(len(prompts), device=prompts.target.device).split(PATHS_AT_ONCE):
            batch = prompts[rows]
            paths = self.guides[guide].paths(batch)
            scores = self.simulator.score(batch.history, paths[:, None], batch.target, ends=True)
            acceptance = scores.acceptance[:, 0].double()
            ioi = (scores.log_prob[:, 0, -1] - scores.log_prob[:, 0, 0]).double()
            outcome = ioi + self.ctr * acceptance.sum(1) / (paths != 0).sum(1).clamp(min=1)
            found.append(torch.cat([acceptance, outcome[:, None]], dim=1).cpu().numpy())
        return np.concatenate(found)


def prompts_towards(data: GuideData, targets: np.ndarray, seed: int, device: torch.device) -> Prompts:
    """A history of a training user for each of `targets` [b], drawn among those who do not know it.

    Raises `DataError` for a target that is hardly unknown to anybody.
    """
    rng, train = np.random.default_rng(seed), data.train
    n_items = int(max(data.sequences.items.max(initial=0), targets.max()))
    known = np.unique(data.sequences.users.astype(np.int64) * (n_items + 1) + data.sequences.items)
    rows = np.zeros(len(targets), dtype=np.int64)
    waiting = np.arange(len(targets))
    for _ in range(ROUNDS):
        rows[waiting] = rng.integers(len(train), size=len(waiting))
        waiting = waiting[
            np.isin(train.user[rows[waiting]].astype(np.int64) * (n_items + 1) + targets[waiting], known)
        ]
        if not len(waiting):
            parts = np.arange(len(targets)), train.user[rows], train.history[rows], targets
            return Prompts(*(torch.tensor(part, dtype=torch.int64, device=device) for part in parts))
    raise DataError(f"item {targets[waiting[0]]}: no training user was found who does not know it")


def fit(
    settings: ImpatientSettings, context: GuideContext, session: Session, parts: Mapping[str, Part]
) -> dict[str, Any]:
    """Fit the guides to choose from, learn the prior from past targets, and try new ones day by day.

    Figures: for how many targets each guide is taken; `explained`, the share of an outcome's variance between
    targets that the first days of `past_users` paths explain, by guide; and of new targets towards which all
    guides were also tried in full, by day: the share in which the best one is taken, and what is lost in
    outcome against it; `known_on_day`, when that share is first 0.9 (null: never).
    """
    _fit_parts(parts, session)
    guides = built(parts)
    longest = context.decoding.max_length
    trial = Trial(list(guides.values()), context.simulators[settings.simulator], settings.ctr, longest)
    n_items, seed = trial.simulator.n_items, (context.seed, context.key)
    order = np.random.default_rng(derived_seed(*seed, "targets")).permutation(n_items) + 1
    past, new = order[: settings.past_targets], order[settings.past_targets :][: settings.new_targets]
    if len(past) < settings.past_targets or not len(new):
        key = f"{context.source}: {context.key}.past_targets"
        raise DataError(f"{key}: got {settings.past_targets}, allowed: fewer than the {n_items} items")

    def tried_in_full(targets: np.ndarray, n_users: int, purpose: str) -> list[np.ndarray]:
        prompts = prompts_towards(
            context.data, targets.repeat(n_users), derived_seed(*seed, purpose), context.device
        )
        shape = len(targets), n_users, longest + 1
        return [trial.traces(g, prompts).reshape(shape) for g in range(len(guides))]

    before = tried_in_full(past, settings.past_users, "past")
    priors = [Prior.of(traces) for traces in before]
    counted = np.eye(longest + 1)[-1]
    choice = np.zeros(n_items + 1, dtype=np.int64)
    choice[:] = np.argmax([counted @ prior.mean for prior in priors])
    n_users = np.full(longest + 1, settings.past_users)
    for place, target in enumerate(past):
        beliefs = [p.after(traces[place].mean(0), n_users) for p, traces in zip(priors, before, strict=True)]
        choice[target] = np.argmax([belief.of(counted)[0] for belief in beliefs])
    by_day = _campaign(settings, context, session, trial, priors, new)
    choice[new] = by_day[-1]
    measured = new[:MEASURED_TARGETS]
    truth = np.stack(
        [traces[..., -1].mean(1) for traces in tried_in_full(measured, MEASURED_USERS, "measured")]
    )
    save_fitted(context, {"choice": torch.from_numpy(choice)})
    return {
        "taken": {name: int((choice[1:] == g).sum()) for g, name in enumerate(guides)},
        "explained": {
            name: explained(prior, counted, settings.past_users)
            for name, prior in zip(guides, priors, strict=True)
        },
        **_known(by_day[:, : len(measured)], truth),
    }


def _campaign(
    settings: ImpatientSettings,
    context: GuideContext,
    session: Session,
    trial: Trial,
    priors: list[Prior],
    targets: np.ndarray,
) -> np.ndarray:
    """The best guide [day, j] towards each of `targets` as believed at the end of each day.

    Every day new users start a path towards each target, with a guide that a draw from the beliefs takes; all
    others are shown one more item of theirs.
    """
    per_day, width = settings.users_per_day, trial.max_length + 1
    counted = np.eye(width)[-1]
    n = len(targets)
    traces = np.zeros((n, settings.days * per_day, width))
    assigned = np.full((n, settings.days * per_day), -1)
    started = np.repeat(np.arange(settings.days), per_day)
    worth = [[prior.after(np.zeros(0), np.zeros(0)).of(counted)] * n for prior in priors]
    chosen = []
    shown = progress(
        range(settings.days), description=session.name, unit="day", every_seconds=session.every_seconds
    )
    for day in shown:
        seed = derived_seed(context.seed, context.key, "day", day)
        mean, variance = np.moveaxis(np.array(worth), 2, 0)[..., None]
        draws = np.random.default_rng(seed).standard_normal((len(priors), n, per_day))
        today = (mean + np.sqrt(variance.clip(0)) * draws).argmax(0)
        users = slice(day * per_day, (day + 1) * per_day)
        assigned[:, users] = today
        prompts = prompts_towards(context.data, targets.repeat(per_day), seed, context.device)
        tried = np.zeros((n * per_day, width))
        for g in range(len(priors)):
            own = today.ravel() == g
            if not own.any():
                continue
            rows = torch.from_numpy(own.nonzero()[0]).to(context.device)
            tried[own] = trial.traces(g, prompts[rows])
        traces[:, users] = tried.reshape(n, per_day, width)
        worth = []
        for g, prior in enumerate(priors):
            seen = (assigned == g)[..., None] & ((day - started + 1)[:, None] > np.arange(width))
            n_users = seen.sum(1)
            means = (traces * seen).sum(1) / n_users.clip(1)
            days = (n_users > 0).sum(1)
            worth.append(
                [prior.after(x[:k], m[:k]).of(counted) for x, m, k in zip(means, n_users, days, strict=True)]
            )
        chosen.append(np.array(worth)[..., 0].argmax(0))
    return np.stack(chosen)


def _known(by_day: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """How soon the choices [day, j] are right, by the outcomes [g, j] that guides have in truth."""
    places = np.arange(by_day.shape[1])
    right = (by_day == truth.argmax(0)).mean(1)
    lost = np.array([(truth.max(0) - truth[chosen, places]).mean() for chosen in by_day])
    days = (right >= KNOWN).nonzero()[0]
    return {
        "right_by_day": right.tolist(),
        "lost_by_day": lost.tolist(),
        "known_on_day": int(days[0]) + 1 if len(days) else None,
    }


def _fit_parts(parts: Mapping[str, Part], session: Session) -> None:
    """Fit the guides that need it, each in a folder and a session of its own."""
    sessions = []
    for name, (kind, settings, context) in parts.items():
        if kind.fit is None:
            continue
        checkpoint = copy.copy(session.checkpoint)
        checkpoint.path = checkpoint.path.with_name(f"{name}-{checkpoint.path.name}")
        own = replace(
            session, name=f"{session.name}/{name}", checkpoint=checkpoint, curves=session.curves / name
        )
        context.folder.mkdir(parents=True)
        kind.fit(settings, context, own)
        sessions.append(own)
    for own in sessions:
        own.checkpoint.remove()


def built(parts: Mapping[str, Part]) -> dict[str, Guide]:
    """The guides to choose from."""
    return {name: kind.build(settings, context) for name, (kind, settings, context) in parts.items()}


@dataclass(frozen=True)
class ImpatientGuide:
    """Lets the guide that is known to work best towards a target write; choice [n+1]: its place among
    `guides`.
    """

    guides: Sequence[Guide]
    choice: torch.Tensor

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return len(self.choice) - 1

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        rows = [self._rows(prompts, g) for g in range(len(self.guides))]
        parts = [guide.paths(prompts[own]) for guide, own in zip(self.guides, rows, strict=True) if len(own)]
        together = torch.cat([own for own in rows if len(own)])
        return torch.cat(parts)[together.argsort()]

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: those of the guide that wrote; none of one that asks no simulator."""
        found = torch.zeros_like(prompts.target)
        for g, guide in enumerate(self.guides):
            own = self._rows(prompts, g)
            if isinstance(guide, CostedGuide) and len(own):
                found[own] = guide.states(prompts[own], paths[own])
        return found

    def _rows(self, prompts: Prompts, g: int) -> torch.Tensor:
        return (self.choice[prompts.target] == g).nonzero()[:, 0]


def build(context: GuideContext, parts: Mapping[str, Part]) -> ImpatientGuide:
    """The guide that was fitted, with the guides that it chooses from."""
    return ImpatientGuide(list(built(parts).values()), load_fitted(context)["choice"])
