"""What pre-training imitates: mined paths, and paths found by search on a simulator for random targets.

Mined paths teach the popular item first and the target last; on small data a policy trained on them alone
writes nearly the same path for everybody. The search shows what moves *this* user towards *this* target: at
each step it takes the item that gains most, among those the simulator finds acceptable and those akin to the
target, and stops when the path is long enough and no item gains anything. The gain of an item is `IoI + w_ctr
log CTR`, less `w_coherence` where it shares no attribute with the item before it in the path. What the rules
of decoding forbid is forbidden to the search too.

Shape key: `i` demonstrations, `h` history, `t` path position, `n` items, `c` candidates, `w` words of
attribute bits.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.metrics.path_metrics import coherence
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
    return Demonstrations(
        *(torch.tensor(x, dtype=torch.int64) for x in (instances.history, instances.target, path))
    )


def random_prompts(
    instances: Instances, sequences: Sequences, n_items: int, n_prompts: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`n_prompts` histories [i, h] of `instances` in random order, none more than once oftener than another,
    with random targets [i].

    A target is an item that the user never interacted with.
    """
    generator = np.random.default_rng(seed)
    rounds = -(-n_prompts // len(instances))
    rows = np.concatenate([generator.permutation(len(instances)) for _ in range(rounds)])[:n_prompts]
    target = random_targets(sequences, instances.user[rows], n_items, derived_seed(seed, "targets"))
    return torch.from_numpy(instances.history[rows]).long(), torch.from_numpy(target).long()


@dataclass(frozen=True)
class Search:
    """How paths are searched for: on `simulator`, by the rules of `decoding`, among `n_candidates` items a
    step.

    words [n+1, w]: each item's attributes as bits, as `attribute_words` gives them.
    """

    simulator: InnerProductSimulator
    decoding: Decoding
    n_candidates: int
    weights: SearchWeights
    words: np.ndarray

    @torch.no_grad()
    def paths(
        self, history: torch.Tensor, target: torch.Tensor, every_seconds: float, batch_size: int = 128
    ) -> Demonstrations:
        """A path for each of `history` [i, h] and `target` [i]."""
        batches = list(zip(history.split(batch_size), target.split(batch_size), strict=True))
        found = [
            self._batch(h, g)
            for h, g in progress(
                batches, description="search for paths", unit="batch", every_seconds=every_seconds
            )
        ]
        return Demonstrations(history, target, torch.cat(found))

    def _batch(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        simulator, model, decoding = self.simulator, self.simulator.model, self.decoding
        b, vectors = len(history), simulator.vectors
        states, memory = model.extend(history)
        state = states[:, -1]
        log_prob, _ = simulator.target_scores(state, target)
        forbidden = self._forbidden_at_start(history, target)
        akin = F.normalize(vectors[target], dim=-1) @ F.normalize(vectors, dim=-1).T
        path = torch.zeros(b, decoding.max_length, dtype=torch.int64, device=history.device)
        running = torch.arange(b, device=history.device)
        each = min(-(-self.n_candidates // 2), simulator.n_items)
        for t in range(decoding.max_length):
            worth = self.weights.ctr * F.logsigmoid(state @ vectors.T)
            if t > 0 and self.weights.coherence:
                worth -= self.weights.coherence * ~self._shares_attribute(path[running, t - 1])
            worth = worth.masked_fill(forbidden[running], -torch.inf)
            likely = worth.topk(each).indices
            near = (akin[running].masked_fill(forbidden[running], -torch.inf) + worth / 4).topk(each).indices
            candidates = torch.cat([likely, near], dim=1)
            after, branches = model.branch(candidates, memory)
            reached, _ = simulator.target_scores(
                after.flatten(0, 1), target[running].repeat_interleave(candidates.shape[1])
            )
            reached = reached.view_as(candidates)
            best, choice = (reached - log_prob[:, None] + worth.gather(1, candidates)).max(dim=1)
            go_on = best > 0 if t >= max(1, decoding.min_length) else torch.ones_like(best, dtype=torch.bool)
            rows, choice, running = go_on.nonzero()[:, 0], choice[go_on], running[go_on]
            if len(running) == 0:
                break
            item = candidates[rows, choice]
            path[running, t] = item
            if "repeats" in decoding.forbid:
                forbidden[running, item] = True
            state, log_prob, memory = (
                after[rows, choice],
                reached[rows, choice],
                model.follow(memory, branches, rows, choice),
            )
        return path

    def _forbidden_at_start(self, history: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Which items [b, n+1] no path may hold; padding is one."""
        forbidden = torch.zeros(
            len(history), self.simulator.n_items + 1, dtype=torch.bool, device=history.device
        )
        forbidden[:, 0] = True
        if "history" in self.decoding.forbid:
            forbidden.scatter_(1, history, True)
        if "target" in self.decoding.forbid:
            forbidden.scatter_(1, target[:, None], True)
        return forbidden

    def _shares_attribute(self, item: torch.Tensor) -> torch.Tensor:
        """Which items [b, n+1] have an attribute in common with `item` [b]."""
        words = torch.from_numpy(self.words.view(np.int64)).to(item.device)
        shared = torch.zeros(len(item), len(words), dtype=torch.bool, device=item.device)
        for word in words.T:  # one after another: attributes can be thousands
            shared |= (word[item][:, None] & word) != 0
        return shared

    def statistics(self, found: Demonstrations) -> dict[str, float]:
        """How good found paths are under the simulator searched on: their number and mean IoI, IoR, CTR,
        coherence and length.
        """
        scores = self.simulator.score(found.history, found.path[:, None], found.target)
        return {
            "paths": len(found),
            "ioi": (scores.log_prob[..., -1] - scores.log_prob[..., 0]).double().mean().item(),
            "ior": (scores.rank[..., 0] - scores.rank[..., -1]).double().mean().item(),
            "ctr": (scores.acceptance.double().sum(-1)[:, 0] / found.lengths.clamp(min=1)).mean().item(),
            "coherence": coherence(found.path.numpy(), found.target.numpy(), self.words).mean().item(),
            "length": found.lengths.double().mean().item(),
        }
