"""Where held-out users' logs are looked at, and what a simulator says there: the rank of the real next item,
and the acceptance of it and of sampled others.

Shape key: `q` places, `h` history, `n` sampled items, `u` users, `s` items of a stretch.
"""

from dataclasses import dataclass

import numpy as np
import torch

from prorl.errors import DataError
from prorl.metrics.intervals import UserBootstrap, interval
from prorl.paths.mining import random_targets
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator


@dataclass(frozen=True)
class Stretches:
    """Stretches of logs: user [q], history [q, h] and the items `after` it [q, s]; of a user in a row."""

    user: np.ndarray
    history: np.ndarray
    after: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


def stretches(
    sequences: Sequences, users: np.ndarray, before: int, after: int, per_user: int, seed: int
) -> Stretches:
    """Up to `per_user` stretches of each of `users` (counted from 1), `before` + `after` items long.

    Their places are drawn without replacement, and may overlap. A user with fewer items has none.
    """
    rng = np.random.default_rng(seed)
    n_places = np.maximum(sequences.lengths[users - 1] - before - after + 1, 0)
    starts = [np.sort(rng.permutation(n)[:per_user]) for n in n_places]
    user = np.repeat(users, [len(own) for own in starts])
    first = sequences.offsets[user - 1] + np.concatenate([np.zeros(0, np.int64), *starts])
    items = sequences.items[first[:, None] + np.arange(before + after)]
    return Stretches(user, items[:, :before], items[:, before:])


@dataclass(frozen=True)
class Answers:
    """What a simulator says: rank [q] of the real next item, 1 being best, and acceptance [q, 1 + n] of that
    item and of n others; user [q].
    """

    user: np.ndarray
    rank: np.ndarray
    acceptance: np.ndarray


@dataclass(frozen=True)
class Places:
    """Where a simulator is asked for the next item: stretches with one item after the history, and `others`
    [q, n] sampled uniformly from the items that the user never had.
    """

    stretches: Stretches
    others: np.ndarray

    @classmethod
    def drawn(
        cls,
        sequences: Sequences,
        users: np.ndarray,
        n_items: int,
        history_length: int,
        per_user: int,
        n_others: int,
        seed: int,
    ) -> "Places":
        """Places of `users`. Raises `DataError` where none of them has more than `history_length` items."""
        found = stretches(sequences, users, history_length, 1, per_user, derived_seed(seed, "places"))
        if not len(found):
            raise DataError(
                f"none of {len(users)} held-out users has more than {history_length} items, "
                "validate.history_length"
            )
        user = np.repeat(found.user, n_others)
        others = random_targets(sequences, user, n_items, derived_seed(seed, "others"))
        return cls(found, others.reshape(-1, n_others))

    @property
    def items(self) -> np.ndarray:
        """The real next item and the others, [q, 1 + n]."""
        return np.concatenate([self.stretches.after, self.others], axis=1)

    def ask(self, simulator: Simulator, device: torch.device, batch_size: int) -> Answers:
        """What `simulator`, which lies on `device`, says of all of them."""
        ranks, acceptances = [], []
        history, items = (
            torch.tensor(part, dtype=torch.int64, device=device).split(batch_size)
            for part in (self.stretches.history, self.items)
        )
        for before, shown in zip(history, items, strict=True):
            scores = simulator.score(before, shown[:, :, None], shown[:, 0], ends=True)
            ranks.append(scores.rank[:, 0, 0].cpu().numpy())
            acceptances.append(scores.acceptance[:, :, 0].double().cpu().numpy())
        return Answers(self.stretches.user, np.concatenate(ranks), np.concatenate(acceptances))


def next_item(rank: np.ndarray, top_k: int = 10) -> dict[str, np.ndarray]:
    """MRR, recall and NDCG at `top_k` of each of the ranks [q], as `prorl.simulators.ranking` has them."""
    hit = (rank <= top_k).astype(np.float64)
    return {
        f"mrr@{top_k}": hit / rank,
        f"recall@{top_k}": hit,
        f"ndcg@{top_k}": hit / np.log2(rank + 1),
    }


def auc(score: np.ndarray, bootstrap: UserBootstrap) -> dict[str, float]:
    """How often a real item scores higher than a sampled one, equal scores counting half; with its interval.

    score [q, 1 + n]: the real item's first. All real items are compared with all sampled ones, of whatever
    user. Plainly: two loops over them. Here the sampled items of one user are sorted, and a resample weighs
    the comparisons of two users by how often it drew both.
    """
    real, others, group = score[:, 0], score[:, 1:], bootstrap.group
    n_users = bootstrap.weights.shape[1]
    wins = np.empty((n_users, n_users))
    for user in range(n_users):
        sampled = np.sort(others[group == user].ravel())
        below = np.searchsorted(sampled, real, "left") + np.searchsorted(sampled, real, "right")
        wins[:, user] = np.bincount(group, weights=below / 2, minlength=n_users)
    n_places = np.bincount(group, minlength=n_users).astype(np.float64)
    pairs = np.outer(n_places, n_places * others.shape[1])
    won, compared = (((bootstrap.weights @ part) * bootstrap.weights).sum(1) for part in (wins, pairs))
    return interval(wins.sum() / pairs.sum(), won / compared)
