"""What pre-training imitates: mined paths, and paths found by search on a simulator for random targets.

Mined paths teach the popular item first and the target last; on small data a policy trained on them alone writes nearly the same path
for everybody. The search shows what moves *this* user towards *this* target: at each step it takes the item that gains most
`IoI + log CTR`, among those the simulator finds acceptable and those akin to the target, and stops when no item gains anything: a
demonstration is as short as it can be, and what to do with further steps, where `decoding.min_length` asks for them, is left to
reinforcement learning. What the rules forbid is forbidden to the search too.

Shape key: `i` demonstrations, `h` history, `t` path position, `n` items, `c` candidates.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config import Decoding
from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed, progress
from prorl.simulators.scoring import InnerProductSimulator
from prorl.tables import Instances


@dataclass(frozen=True)
class Demonstrations:
    """Paths to imitate: history [i, h], target [i], path [i, t] with 0 behind the end."""

    history: torch.Tensor
    target: torch.Tensor
    path: torch.Tensor

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: torch.Tensor) -> "Demonstrations":
        return Demonstrations(self.history[rows], self.target[rows], self.path[rows])

    @property
    def lengths(self) -> torch.Tensor:
        """Items of each path, [i]."""
        return (self.path != 0).sum(1)

    def to(self, device: torch.device) -> "Demonstrations":
        """The same on `device`."""
        return Demonstrations(self.history.to(device), self.target.to(device), self.path.to(device))


def mined(instances: Instances, max_length: int) -> Demonstrations:
    """The mined paths: each run without its last item, which is the target."""
    columns = np.arange(instances.run.shape[1])
    path = np.where(columns < (instances.length - 1)[:, None], instances.run, 0)
    path = np.pad(path, ((0, 0), (0, max(0, max_length - path.shape[1]))))[:, :max_length]
    return Demonstrations(*(torch.tensor(x, dtype=torch.int64) for x in (instances.history, instances.target, path)))


def random_prompts(
    instances: Instances, sequences: Sequences, n_items: int, n_prompts: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`n_prompts` histories [i, h] of `instances` in random order, none more than once oftener than another, with random targets [i].

    A target is an item that the user never interacted with.
    """
    generator = np.random.default_rng(seed)
    rounds = -(-n_prompts // len(instances))
    rows = np.concatenate([generator.permutation(len(instances)) for _ in range(rounds)])[:n_prompts]
    target = random_targets(sequences, instances.user[rows], n_items, derived_seed(seed, "targets"))
    return torch.from_numpy(instances.history[rows]).long(), torch.from_numpy(target).long()


@torch.no_grad()
def search(
    simulator: InnerProductSimulator,
    history: torch.Tensor,
    target: torch.Tensor,
    decoding: Decoding,
    n_candidates: int,
    every_seconds: float,
    batch_size: int = 128,
) -> Demonstrations:
    """Paths of at least one item for `history` [i, h] and `target` [i], without the items that `decoding` forbids."""
    batches = list(zip(history.split(batch_size), target.split(batch_size), strict=True))
    found = [
        _search_batch(simulator, h, t, decoding, n_candidates)
        for h, t in progress(batches, description="search for paths", unit="batch", every_seconds=every_seconds)
    ]
    return Demonstrations(history, target, torch.cat(found))


def _search_batch(simulator, history, target, decoding, n_candidates) -> torch.Tensor:
    b = len(history)
    vectors, model = simulator.vectors, simulator.model
    states, memory = model.extend(history)
    state = states[:, -1]
    log_prob, _ = simulator.target_scores(state, target)
    forbidden = torch.zeros(b, simulator.n_items + 1, dtype=torch.bool, device=history.device)
    forbidden[:, 0] = True
    if "history" in decoding.forbid:
        forbidden.scatter_(1, history, True)
    if "target" in decoding.forbid:
        forbidden.scatter_(1, target[:, None], True)
    akin = F.normalize(vectors[target], dim=-1) @ F.normalize(vectors, dim=-1).T
    path = torch.zeros(b, decoding.max_length, dtype=torch.int64, device=history.device)
    running = torch.arange(b, device=history.device)
    each = min(-(-n_candidates // 2), simulator.n_items)
    for t in range(decoding.max_length):
        log_ctr = F.logsigmoid(state @ vectors.T).masked_fill(forbidden[running], -torch.inf)
        likely = log_ctr.topk(each).indices
        near = (akin[running].masked_fill(forbidden[running], -torch.inf) + log_ctr / 4).topk(each).indices
        candidates = torch.cat([likely, near], dim=1)
        c = candidates.shape[1]
        after, extended = model.extend(candidates.reshape(-1, 1), model.repeat(memory, c))
        reached, _ = simulator.target_scores(after[:, 0], target[running].repeat_interleave(c))
        gain = reached.view(-1, c) - log_prob[:, None] + log_ctr.gather(1, candidates)
        best, choice = gain.max(dim=1)
        chosen = torch.arange(len(running), device=history.device) * c + choice
        go_on = best > 0 if t > 0 else torch.ones_like(best, dtype=torch.bool)
        running, chosen = running[go_on], chosen[go_on]
        if len(running) == 0:
            break
        item = candidates.flatten()[chosen]
        path[running, t] = item
        if "repeats" in decoding.forbid:
            forbidden[running, item] = True
        state, log_prob, memory = after[chosen, 0], reached[chosen], model.select(extended, chosen)
    return path


def search_statistics(simulator: InnerProductSimulator, found: Demonstrations) -> dict[str, float]:
    """How good paths found by search are under the simulator they were found on: mean IoI, IoR, CTR and length, and their number."""
    scores = simulator.score(found.history, found.path[:, None], found.target)
    return {
        "paths": len(found),
        "ioi": (scores.log_prob[..., -1] - scores.log_prob[..., 0]).double().mean().item(),
        "ior": (scores.rank[..., 0] - scores.rank[..., -1]).double().mean().item(),
        "ctr": (scores.acceptance.double().sum(-1)[:, 0] / found.lengths.clamp(min=1)).mean().item(),
        "length": found.lengths.double().mean().item(),
    }
