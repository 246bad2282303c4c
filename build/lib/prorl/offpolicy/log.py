"""The log of what was shown: its columns, and its rows as arrays.

One row for each item that was shown. A *request* is one call for a path: its rows share user, history,
target, rules, temperature and model, and stand at the positions 0, 1, 2 .. of its path.

Shape key: `n` requests, `s` rows (shown items), `h` items of history, `t` path position.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.decoding import Decoding
from prorl.errors import DataError

ACCEPTED, REFUSED, LEFT = "accepted", "refused", "left"
OUTCOMES = (ACCEPTED, REFUSED, LEFT)

LOG = pa.schema(
    [
        ("request_id", pa.string()),
        ("user", pa.string()),
        ("history", pa.list_(pa.int32())),
        ("target", pa.int32()),
        ("position", pa.int32()),
        ("item", pa.int32()),
        ("rules", pa.string()),
        ("temperature", pa.float64()),
        ("propensity", pa.float64()),
        ("outcome", pa.string()),
        ("model", pa.string()),
    ]
)
SHARED = ("user", "history", "target", "rules", "temperature", "model")  # by all rows of a request
HASH_BYTES = 16


@dataclass(frozen=True)
class Log:
    """A log whose rows keep its rules, ordered by request and position.

    Of requests [n]: `request_id`; `user`, a number for each hash; history [n, h], oldest first, with 0 before
    a shorter one; `target`; `rule`, the place of its rules in `rules`; `temperature`; `model`. Of rows [s]:
    `request`, counted from 0; `position`; `item`; `propensity`, the probability with which the item was
    drawn, given those before it; `outcome`, its place in `OUTCOMES`.
    """

    request_id: np.ndarray
    user: np.ndarray
    history: np.ndarray
    target: np.ndarray
    rules: tuple[Decoding, ...]
    rule: np.ndarray
    temperature: np.ndarray
    model: np.ndarray
    request: np.ndarray
    position: np.ndarray
    item: np.ndarray
    propensity: np.ndarray
    outcome: np.ndarray

    def __len__(self) -> int:
        return len(self.request_id)

    @cached_property
    def length(self) -> np.ndarray:
        """Items [n] that were shown at each request."""
        return np.bincount(self.request, minlength=len(self))

    @property
    def paths(self) -> np.ndarray:
        """The items that were shown, [n, t], 0 behind the end."""
        return self.by_position(self.item, 0)

    @property
    def acts(self) -> np.ndarray:
        """Where [n, t + 1] the logging policy chose an item or chose to stop: not behind the item at which
        the user left, nor behind a path of the longest length.
        """
        longest = np.array([rules.max_length for rules in self.rules])[self.rule]
        left = np.zeros(len(self), dtype=bool)
        left[self.request[self.outcome == OUTCOMES.index(LEFT)]] = True
        acts = self.length + (~left & (self.length < longest))
        return np.arange(self.length.max() + 1) < acts[:, None]

    def by_position(self, values: np.ndarray, behind: float) -> np.ndarray:
        """Values [s] of rows as [n, t], and `behind` where a request has no row."""
        table = np.full((len(self), self.length.max()), behind, dtype=np.result_type(values, type(behind)))
        table[self.request, self.position] = values
        return table

    def name(self, request: int) -> str:
        """What errors call a request."""
        return f"request {str(self.request_id[request])!r}"

    def where(self, row: int) -> str:
        """What errors call a row."""
        return f"{self.name(self.request[row])}: position {self.position[row]}"


def keyed_hash(user: str, key: bytes) -> str:
    """What the log calls a `user`: a hash that only holders of `key` (16 to 64 bytes) can connect with the
    user (BLAKE2, RFC 7693).

    Raises `DataError` for a key of another length.
    """
    if not HASH_BYTES <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        allowed = f"{HASH_BYTES} to {hashlib.blake2b.MAX_KEY_SIZE} bytes"
        raise DataError(f"key of users' hashes: got {len(key)} bytes, allowed: {allowed}")
    return hashlib.blake2b(user.encode(), key=key, digest_size=HASH_BYTES).hexdigest()


@dataclass(frozen=True)
class Request:
    """One request with what became of it, as a service knows it once its path is over.

    history [h]; items [t] as shown, their `propensities` [t] and `outcomes` [t]; `rules` is the section
    `decoding` that the path was decoded by.
    """

    request_id: str
    user: str
    history: list[int]
    target: int
    rules: Decoding
    temperature: float
    model: str
    items: list[int]
    propensities: list[float]
    outcomes: list[str]

    def rows(self) -> list[dict[str, Any]]:
        """Its rows of the log. Raises `DataError` where it has no item, or lists of different lengths."""
        lengths = [len(part) for part in (self.items, self.propensities, self.outcomes)]
        if lengths[0] == 0 or len(set(lengths)) > 1:
            raise DataError(
                f"request {self.request_id!r}: got {lengths} items, propensities and outcomes, "
                "allowed: as many of each, 1 or more"
            )
        shared = {name: getattr(self, name) for name in ("request_id", *SHARED)}
        shared["rules"] = self.rules.model_dump_json()
        shown = zip(self.items, self.propensities, self.outcomes, strict=True)
        return [
            {**shared, "position": position, "item": item, "propensity": propensity, "outcome": outcome}
            for position, (item, propensity, outcome) in enumerate(shown)
        ]
