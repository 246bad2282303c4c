"""Users' interactions as sequences: chronological order, k-core, and the split of users.

Shape key: `e` interactions, `u` users, `n` items.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.tables import INTERACTIONS, SPLITS, n_rows, parts_of, read_table


@dataclass(frozen=True)
class Sequences:
    """The items of all users in chronological order, user after user.

    items [e] int32; offsets [u + 1] int64: user `u` of 1..U has `items[offsets[u - 1] : offsets[u]]`.
    """

    items: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """The number of users."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Interactions of each user, [u]."""
        return np.diff(self.offsets)

    def of(self, user: int) -> np.ndarray:
        """The items of one user, counted from 1, oldest first."""
        return self.items[self.offsets[user - 1] : self.offsets[user]]

    @property
    def users(self) -> np.ndarray:
        """The user of each interaction, [e] int32."""
        return np.repeat(np.arange(1, len(self) + 1, dtype=np.int32), self.lengths)


def within_groups(lengths: np.ndarray) -> np.ndarray:
    """0, 1, .. within each of the consecutive groups of `lengths` [g] members, [lengths.sum()]."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def user_sequences(interactions: pa.Table | pd.DataFrame) -> Sequences:
    """The sequences in a table of interactions that is sorted by user, then time, as `prepare` writes it.

    To train on some users only, take theirs: `sequences.of(user) for user in users`. Raises `DataError` if
    the table is not sorted by user.
    """
    user = np.asarray(interactions["user"])
    if np.any(user[1:] < user[:-1]) or (len(user) and user[0] < 1):
        raise DataError("interactions are not sorted by user, counted from 1")
    n_users = int(user[-1]) if len(user) else 0
    offsets = np.searchsorted(user, np.arange(1, n_users + 2)).astype(np.int64)
    return Sequences(items=np.asarray(interactions["item"]), offsets=offsets)


def read_sequences(path: Path) -> Sequences:
    """`user_sequences` of the table of interactions at `path`, a file or a folder of parts, read one after
    another: memory holds the items, and of one part the users too. Raises `DataError` as that does.
    """
    schema = pa.schema([INTERACTIONS.field("user"), INTERACTIONS.field("item")])
    parts = parts_of(path)
    items = np.empty(n_rows(path), dtype=np.int32)
    counts, filled, last = [np.zeros(1, dtype=np.int64)], 0, 0  # of user 0, who is none, then of each
    for part in parts:
        table = read_table(part, schema)
        user = table["user"].to_numpy()
        if np.any(user[1:] < user[:-1]) or (len(user) and user[0] < max(last, 1)):
            raise DataError(f"{part}: interactions are not sorted by user, counted from 1")
        items[filled : filled + len(user)] = table["item"].to_numpy()
        filled += len(user)
        if len(user):
            own = np.bincount(user - last)
            counts[-1][-1] += own[0]  # the last user of the part before may go on in this one
            counts += [own[1:]] if len(own) > 1 else []
            last = int(user[-1])
    return Sequences(items=items, offsets=np.cumsum(np.concatenate(counts)))


def chronological(user: np.ndarray, timestamp: np.ndarray) -> np.ndarray:
    """Positions [e] that sort interactions by user, then time; equal times keep their order.

    Plainly: `np.lexsort((timestamp, user))`. Here by radix sort, in time linear in e: one stable pass per 16
    bits, the least significant first, since NumPy sorts numbers of 16 bits by counting.
    """
    order = np.arange(len(user))
    for values in (timestamp, user):
        for digit in _digits(values):
            order = order[np.argsort(digit[order], kind="stable")]
    return order


def _digits(values: np.ndarray) -> Iterator[np.ndarray]:
    """The 16-bit digits of `values` [e] less their minimum, least significant first."""
    smallest = int(values.min()) if len(values) else 0
    rest = values.astype(np.uint64) - np.uint64(smallest % 2**64)
    while rest.any():
        yield rest.astype(np.uint16)
        rest >>= np.uint64(16)


@dataclass
class Removed:
    """What one filter removed."""

    interactions: int = 0
    users: int = 0
    items: int = 0


@dataclass
class Core:
    """The k-core of a log: positions `kept` of the interactions that stay, and what each filter removed."""

    kept: np.ndarray
    users: Removed = field(default_factory=Removed)
    items: Removed = field(default_factory=Removed)
    rounds: int = 0


def k_core(user: np.ndarray, item: np.ndarray, min_user: int, min_item: int) -> Core:
    """The largest part of the log in which every user has `min_user` interactions and every item `min_item`.

    user [e] and item [e] are codes from 0. Plainly: drop what is below its minimum until nothing changes.
    Here users and items are filtered in turn, which gives the same result. It may be empty.
    """
    core = Core(kept=np.arange(len(user)))
    settled = 0  # filters in a row that removed nothing
    while settled < 2 and len(user):
        by_user = core.rounds % 2 == 0
        codes, minimum, removed = (user, min_user, core.users) if by_user else (item, min_item, core.items)
        stays = (np.bincount(codes) >= minimum)[codes]
        core.rounds += 1
        if stays.all():
            settled += 1
            continue
        settled = 0
        before = distinct(user), distinct(item)
        removed.interactions += int(len(stays) - stays.sum())
        user, item, core.kept = user[stays], item[stays], core.kept[stays]
        removed.users += before[0] - distinct(user)
        removed.items += before[1] - distinct(item)
    return core


def distinct(codes: np.ndarray) -> int:
    """The number of distinct codes in time linear in their number; codes count from 0.

    Plainly: `len(np.unique(codes))`.
    """
    return int(np.count_nonzero(np.bincount(codes)))


def split_users(n_users: int, shares: list[float], seed: int) -> np.ndarray:
    """The split drawn for each user in the proportions `shares`, as its position in `SPLITS`, [u].

    Raises `ConfigError` unless there is one share per split, and `DataError` if a split would have no user.
    """
    if len(shares) != len(SPLITS):
        raise ConfigError(
            f"prepare.split: got {len(shares)} shares, allowed: {len(SPLITS)}, for {', '.join(SPLITS)}"
        )
    cuts = np.rint(np.cumsum(shares) / np.sum(shares) * n_users).astype(np.int64)
    counts = np.diff(cuts, prepend=0)
    if not counts.all():
        raise DataError(
            f"{n_users} users split {shares}: {dict(zip(SPLITS, counts.tolist(), strict=True))}, "
            "allowed: at least one in each"
        )
    split = np.empty(n_users, dtype=np.int8)
    split[np.random.default_rng(seed).permutation(n_users)] = np.repeat(np.arange(len(SPLITS)), counts)
    return split
