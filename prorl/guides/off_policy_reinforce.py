"""REINFORCE on logged paths: importance weights for what another policy has shown, and the top-K correction.

Source: Chen et al., "Top-K Off-Policy Correction for a REINFORCE Recommender System", WSDM 2019,
arXiv 1812.02353. The gradient is the sum over logged steps of

    min(pi(a|s) / beta(a|s), cap) lambda_K(s, a) R grad log pi(a|s),   lambda_K = K (1 - pi(a|s))^(K - 1)

with the weight of this step alone, R the discounted reward from it on, beta the policy that was logged, and K
the number of items shown at once. Weight and lambda are constants for the gradient. A path shows one item at
a step, so K = 1 and lambda = 1; above 1 is for slates, see `SlateGuide.slates`.

The log: paths of training prompts, drawn at each step from the softmax of the simulator's logits over the
candidates, with their exact propensities; whether each item is accepted is drawn too, by its acceptance, and
is what the reward knows of it.

It departs in this: pi and beta are small networks over features of history, target and candidate, in place of
a recurrent state with a softmax over a whole corpus; as features are not learnt, the second head needs no
stopped gradient. The mean reward-to-go of a position is taken off, which weights without a cap do not notice;
so rewards of any sign are learnt from, and not those alone that are not zero. A guide shows its best item.
Shape key: `r` logged steps, `b` prompts, `t` path position, `c` candidates, `f` features, `k` items of a
slate.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.rivals import OffPolicySettings
from prorl.devices import accelerator
from prorl.guide import GuideContext
from prorl.guides.features import (
    CandidateGuide,
    Standard,
    drawn,
    load_fitted,
    new_network,
    part_of,
    save_fitted,
    training_prompts,
)
from prorl.guides.stepping import steps
from prorl.guides.walks import FEATURES, Walk, World
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.training import Session, adamw

LOGGED_AT_ONCE = 128
CURVES_EVERY = 10  # steps between two rows of the curves


def surrogate(
    log_pi: torch.Tensor,
    propensity: torch.Tensor | None,
    reward: torch.Tensor,
    cap: float = torch.inf,
    slate: int = 1,
) -> torch.Tensor:
    """What is to rise, [r]: its gradient is that of the source.

    log_pi [r]: of the logged items; propensity [r]: what the log drew them with, None for no weights; reward
    [r]: from the step on.
    """
    pi = log_pi.detach().exp()
    weight = torch.ones_like(pi) if propensity is None else (pi / propensity).clamp(max=cap)
    return weight * slate * (1 - pi) ** (slate - 1) * reward * log_pi


@dataclass(frozen=True)
class Log:
    """Logged paths [b, t] with the propensity of each item, whether it was accepted, and what it gained in
    interest and coherence; all [b, t], 0 behind the end.
    """

    path: torch.Tensor
    propensity: torch.Tensor
    accepted: torch.Tensor
    gain: torch.Tensor
    coherent: torch.Tensor

    @classmethod
    def of(
        cls,
        world: World,
        prompts: Prompts,
        temperature: float,
        generator: torch.Generator,
        every_seconds: float,
    ) -> Self:
        """A path for each of `prompts`, from the softmax of the candidates' logits over `temperature`."""
        batches = torch.arange(len(prompts), device=prompts.target.device).split(LOGGED_AT_ONCE)
        shown = progress(batches, description="log", unit="batch", every_seconds=every_seconds)
        parts = [cls._batch(world, prompts[rows], temperature, generator) for rows in shown]
        return cls(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    @classmethod
    def _batch(cls, world: World, prompts: Prompts, temperature: float, generator: torch.Generator) -> Self:
        shape = len(prompts), world.decoding.max_length
        values = {one.name: torch.zeros(shape, device=prompts.target.device) for one in fields(cls)}
        values["path"] = values["path"].long()

        def step(walk: Walk) -> Walk:
            found = walk.candidates
            shares = behaviour(found.feature("logit"), found.allowed, temperature)
            place = drawn(shares, generator)
            values["propensity"][walk.row, walk.length] = shares.gather(1, place[:, None])[:, 0]
            return walk.after(found.at(place))

        for before, after in steps(world.start(prompts), step):
            at, outcome = (after.row, before.length), after.outcome(before)
            values["path"][at] = after.item
            values["gain"][at] = outcome.gain
            values["coherent"][at] = outcome.coherent.float()
            chance = torch.rand(len(after), generator=generator).to(outcome.acceptance.device)
            values["accepted"][at] = (chance < outcome.acceptance).float()
        return cls(**values)

    def to_go(self, settings: OffPolicySettings) -> torch.Tensor:
        """Discounted reward [b, t] from each item on, less its position's mean, by the deviation of all."""
        shown = self.path != 0
        weights = settings.weights
        reward = (self.gain + weights.ctr * self.accepted + weights.coherence * self.coherent) * shown
        total = torch.zeros_like(reward)
        later = torch.zeros_like(reward[:, 0])
        for t in reversed(range(reward.shape[1])):
            later = reward[:, t] + settings.gamma * later
            total[:, t] = later
        centred = (total - (total * shown).sum(0) / shown.sum(0).clamp(min=1)) * shown
        return centred / (centred.square().sum() / shown.sum()).sqrt().clamp(min=1e-6)


def behaviour(logit: torch.Tensor, allowed: torch.Tensor, temperature: float) -> torch.Tensor:
    """The probabilities [r, c] that the log draws candidates with."""
    return (logit.masked_fill(~allowed, -torch.inf) / temperature).softmax(1)


@torch.no_grad()
def logged_steps(
    world: World, prompts: Prompts, path: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [r, c, f] of the candidates at each item of the paths [b, t], which are allowed [r, c], the
    place [r] of the item shown, and its place [r] in the flat [b * t].
    """
    found = []
    for before, after in steps(world.start(prompts), lambda walk: walk.after(path[walk.row, walk.length])):
        candidates = before.candidates
        place = (candidates.items == after.item[:, None]).to(torch.int8).argmax(1)
        at = before.row * path.shape[1] + before.length
        found.append((candidates.features, candidates.allowed, place, at))
    features, allowed, place, at = (torch.cat(parts) for parts in zip(*found, strict=True))
    return features, allowed, place, at


def log_shares(network: nn.Module, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [r, c] of candidates with standardised features `x` [r, c, f]."""
    return network(x)[..., 0].masked_fill(~allowed, -torch.inf).log_softmax(1)


def fit(settings: OffPolicySettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Log paths, then learn from the log alone; see `GuideEntry.fit`.

    Figures: of the log, the mean acceptance and gain of an item; of the last tenth of training, how far the
    learnt propensities are from the exact ones (mean absolute difference of logarithms), the share of weights
    that the cap cut, and the effective share of logged items that the weights leave.
    """
    world = World.of(settings.simulator, settings.n_candidates, context)
    n_items = world.simulator.n_items
    prompts = training_prompts(context, n_items, settings.paths, "log")
    generator = torch.Generator().manual_seed(derived_seed(context.seed, context.key, "log drawn"))
    log = Log.of(world, prompts, settings.temperature, generator, session.every_seconds)
    standard = Standard.of_candidates(world, context)
    to_go, run = log.to_go(settings), accelerator("float32")
    networks = nn.ModuleDict(
        {
            name: new_network(len(FEATURES), settings.hidden_size, 1, context, name)
            for name in ("policy", "logged")
        }
    )
    optimizer = adamw(networks, settings.learning_rate, weight_decay=0.0)
    training = session.begin(
        run, networks, Modules({"networks": networks, "optimizer": optimizer}), last_tenth=[]
    )
    for step in training.steps(settings.steps):
        seed = derived_seed(context.seed, context.key, "step", step)
        rows = torch.randint(
            len(prompts), (settings.batch_size,), generator=torch.Generator().manual_seed(seed)
        )
        rows = rows.to(context.device)
        features, allowed, place, at = logged_steps(world, prompts[rows], log.path[rows])
        x, place = standard(features), place[:, None]
        log_pi, log_beta = (
            log_shares(networks[name], x, allowed).gather(1, place)[:, 0] for name in ("policy", "logged")
        )
        exact, reward = (part[rows].flatten()[at] for part in (log.propensity, to_go))
        weighed_by = {"exact": exact, "learned": log_beta.detach().exp(), "none": None}[settings.propensities]
        gained = surrogate(log_pi, weighed_by, reward, settings.cap, settings.slate).mean()
        loss = -gained - log_beta.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weight = log_pi.detach().exp() / (exact if weighed_by is None else weighed_by)
        told = {
            "beta_error": (log_beta - exact.log()).abs().mean().item(),
            "capped": (weight > settings.cap).double().mean().item(),
            "effective": _effective_share(weight.clamp(max=settings.cap)),
        }
        if 10 * step > 9 * settings.steps:
            training.counts["last_tenth"].append(told)
        if step % CURVES_EVERY == 0 or step == settings.steps:
            training.keep_best(step, step)  # the last ones: nothing but the log says which are better
            training.log(step, {f"train/{name}": value for name, value in told.items()})
            training.save()
    training.finish()
    save_fitted(
        context, {"mean": standard.mean, "scale": standard.scale, **Modules({"networks": networks}).tensors()}
    )
    shown = log.path != 0
    last = training.counts["last_tenth"]
    return {
        "logged_items": int(shown.sum()),
        "logged_acceptance": (log.accepted.sum() / shown.sum()).item(),
        "logged_gain": (log.gain.sum() / shown.sum()).item(),
        **{name: sum(row[name] for row in last) / len(last) for name in last[0]},
    }


def _effective_share(weight: torch.Tensor) -> float:
    """The effective number of steps with `weight` [r], by their number."""
    weight = weight.double()
    return (weight.sum().square() / weight.square().sum() / len(weight)).item()


@dataclass(frozen=True)
class SlateGuide(CandidateGuide):
    """Shows the policy's likeliest item at each step of a path, or its likeliest items at once."""

    def slates(self, prompts: Prompts, k: int) -> torch.Tensor:
        """The `k` likeliest items [b, k] to be shown at once after the history, the likeliest first.

        0 stands where there are fewer candidates.
        """
        found = self.world.start(prompts).candidates
        scores = self.scores(found).masked_fill(~found.allowed, -torch.inf)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        items = found.items.gather(1, best.indices).masked_fill(best.values == -torch.inf, 0)
        return F.pad(items, (0, k - items.shape[1]))


def build(settings: OffPolicySettings, context: GuideContext) -> SlateGuide:
    """The guide of the fitted policy."""
    world, fitted = World.of(settings.simulator, settings.n_candidates, context), load_fitted(context)
    network = new_network(len(FEATURES), settings.hidden_size, 1, context, "policy")
    network.load_state_dict(part_of(fitted, "networks/policy", "."))
    standard = Standard(fitted["mean"], fitted["scale"])
    return SlateGuide(world, lambda candidates: network(standard(candidates.features))[..., 0])
