"""Deep Q-learning in sessions that the user may leave, after RecoMind.

Source: "A Reinforcement Learning Framework for Optimizing In-Session User Satisfaction in Recommendation
Systems" (RecoMind), arXiv 2508.00201: an episode is a session until the user leaves, on a simulator made of
ranking models; the policy starts as the ranker in production, and explores by epsilon-greedy mixed with a
softmax over the best items. Double Q-learning: van Hasselt, Guez, Silver, AAAI 2016.

It is not RecoMind, of which an outline alone is public. Q(s, a) = scale z + shift + residual(features), with
z the ranker's logit of the item and a residual that starts at 0: a scale is learnt, as logits range much
wider than returns do. History and target are in the features. Nothing is worth anything after a path has
ended. A step's reward is its gain in interest, acceptance and coherence. The leave model is declared here: a
user refuses an item with 1 - acceptance, and from the second refusal (`leaves_after`) on leaves at each
refusal with the same probability again; an item that was refused is read like any other, as where paths are
judged.
Shape key: `r` shown items, `c` candidates, `f` features.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from prorl.checkpoint import Modules
from prorl.config.rivals import DQNSettings
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
from prorl.guides.replay import Learnt, Replay, follow
from prorl.guides.stepping import mean_outcomes
from prorl.guides.walks import FEATURES, Candidates, Outcome, World
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.training import Session, adamw

JUDGED_PROMPTS = 128  # whose greedy paths the best weights are chosen by
JUDGED_EVERY = 20  # steps
LOGIT = FEATURES.index("logit")


class QNetwork(nn.Module):
    """scale z + shift + residual(x): at first the order of the ranker, whose logit is z."""

    def __init__(self, residual: nn.Module):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.0))
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Q [..] of standardised features `x` [.., f]; a standardised logit does as well as the logit."""
        return self.scale * x[..., LOGIT] + self.shift + self.residual(x)[..., 0]


def bootstrapped(
    online: nn.Module, target: nn.Module, rows: dict[str, torch.Tensor], gamma: float
) -> torch.Tensor:
    """What Q is to be, [r]: the reward, and what the target network says of the item that the online one
    would take next; the reward alone where the path has ended.
    """
    chosen = online(rows["next"]).masked_fill(~rows["allowed"], -torch.inf).argmax(1, keepdim=True)
    later = target(rows["next"]).gather(1, chosen)[:, 0]
    return rows["reward"] + gamma * later.masked_fill(rows["done"], 0.0)


def reward_of(outcome: Outcome, settings: DQNSettings) -> torch.Tensor:
    """What an item brings, [r]."""
    weights = settings.weights
    return outcome.gain + weights.ctr * outcome.acceptance + weights.coherence * outcome.coherent


def leaving(
    acceptance: torch.Tensor, refusals: torch.Tensor, leaves_after: int | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether users refuse an item, whose `acceptance` [r] is given, and whether they leave then, each [r].

    refusals [r]: how many there were before.
    """
    refuses, leaves = (
        (torch.rand(len(acceptance), generator=generator).to(acceptance.device) >= acceptance)
        for _ in range(2)
    )
    if leaves_after is None:
        return refuses, torch.zeros_like(refuses)
    return refuses, refuses & leaves & (refusals + 1 >= leaves_after)


def explored(
    q: torch.Tensor, found: Candidates, epsilon: float, settings: DQNSettings, generator: torch.Generator
) -> torch.Tensor:
    """Places [r]: the best by `q` [r, c], but with probability `epsilon` one drawn from the softmax over the
    best `top`.
    """
    allowed = q.masked_fill(~found.allowed, -torch.inf)
    least = allowed.topk(min(settings.top, allowed.shape[1]), dim=1).values[:, -1:]
    shares = (allowed.masked_fill(allowed < least, -torch.inf) / settings.temperature).softmax(1)
    explores = torch.rand(len(q), generator=generator).to(q.device) < epsilon
    return torch.where(explores, drawn(shares, generator), allowed.argmax(1))


def fit(settings: DQNSettings, context: GuideContext, session: Session) -> dict[str, Any]:
    """Learn in sessions on the simulator; see `GuideEntry.fit`.

    The weights kept are those whose greedy paths of some training prompts, which nothing is learnt from, have
    the best sum of rewards. Figures: that sum, the step it was reached at, and the mean length of sessions in
    the last tenth.
    """
    world = World.of(settings.simulator, settings.n_candidates, context)
    n_items = world.simulator.n_items
    judged = training_prompts(context, n_items, JUDGED_PROMPTS, "judged")
    standard = Standard.of_candidates(world, context)
    online = _network(settings, context)
    target, replay, run = copy.deepcopy(online), Replay(settings.replay), accelerator("float32")
    optimizer = adamw(online, settings.learning_rate, weight_decay=0.0)
    modules = Modules({"online": online, "target": target, "optimizer": optimizer})
    training = session.begin(run, online, Learnt(modules, replay), last_tenth=[])
    prompts = training_prompts(context, n_items, settings.steps * settings.batch_size, "prompts")
    greedy = CandidateGuide(world, lambda found: online(standard(found.features)))
    for step in training.steps(settings.steps):
        rows = slice((step - 1) * settings.batch_size, step * settings.batch_size)
        generator = torch.Generator().manual_seed(derived_seed(context.seed, context.key, "step", step))
        epsilon = 1 + (settings.epsilon - 1) * (step - 1) / max(1, settings.steps - 1)
        losses, length = _sessions(
            settings, world, prompts[rows], standard, (online, target), optimizer, replay, epsilon, generator
        )
        if 10 * step > 9 * settings.steps:
            training.counts["last_tenth"].append(length)
        if step % JUDGED_EVERY == 0 or step == settings.steps:
            means = mean_outcomes(world, judged, greedy.step, lambda outcome: reward_of(outcome, settings))
            training.keep_best(step, means["reward"])
            told = {"train/loss": losses, "train/session_length": length}
            training.log(step, told | {f"judged/{name}": value for name, value in means.items()})
            training.save()
    training.finish()
    save_fitted(
        context, {"mean": standard.mean, "scale": standard.scale, **Modules({"online": online}).tensors()}
    )
    last = training.counts["last_tenth"]
    return {
        "best_step": training.best_step,
        "judged_reward": training.best_score,
        "session_length": sum(last) / len(last),
    }


def _sessions(
    settings: DQNSettings,
    world: World,
    prompts: Prompts,
    standard: Standard,
    networks: tuple[nn.Module, nn.Module],
    optimizer: torch.optim.Optimizer,
    replay: Replay,
    epsilon: float,
    generator: torch.Generator,
) -> tuple[float, float]:
    """A session of each of `prompts`, with an update for each item; gives mean loss and session length."""
    online, _ = networks
    walk, losses, n_shown = world.start(prompts), [], 0
    refusals = torch.zeros_like(walk.target)
    while len(walk):
        found = walk.candidates
        x = standard(found.features)
        with torch.no_grad():
            place = explored(online(x), found, epsilon, settings, generator)
        after = walk.after(found.at(place))
        outcome = after.outcome(walk)
        refuses, leaves = leaving(outcome.acceptance, refusals, settings.leaves_after, generator)
        refusals += refuses
        done = after.ended | leaves
        shown = torch.arange(len(walk), device=place.device)
        replay.add(
            {
                "x": x[shown, place],
                "reward": reward_of(outcome, settings),
                "done": done,
                "next": standard(after.candidates.features),
                "allowed": after.candidates.allowed,
            }
        )
        losses.append(_update(settings, networks, optimizer, replay, generator))
        n_shown += len(walk)
        walk, refusals = after.where(~done), refusals[~done]
    return sum(losses) / len(losses), n_shown / len(prompts)


def _update(
    settings: DQNSettings,
    networks: tuple[nn.Module, nn.Module],
    optimizer: torch.optim.Optimizer,
    replay: Replay,
    generator: torch.Generator,
) -> float:
    online, target = networks
    rows = replay.sample(settings.update_size, generator)
    with torch.no_grad():
        aim = bootstrapped(online, target, rows, settings.gamma)
    loss = F.smooth_l1_loss(online(rows["x"]), aim)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    follow(target, online, settings.polyak)
    return loss.item()


def _network(settings: DQNSettings, context: GuideContext) -> QNetwork:
    residual = new_network(len(FEATURES), settings.hidden_size, 1, context, "residual")
    return QNetwork(residual).to(context.device)


def build(settings: DQNSettings, context: GuideContext) -> CandidateGuide:
    """The guide that shows the item of the highest Q."""
    world, fitted = World.of(settings.simulator, settings.n_candidates, context), load_fitted(context)
    network, standard = _network(settings, context), Standard(fitted["mean"], fitted["scale"])
    network.load_state_dict(part_of(fitted, "online"))
    return CandidateGuide(world, lambda candidates: network(standard(candidates.features)))
