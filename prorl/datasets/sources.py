"""What a source of interaction logs is, and what reading its raw files gives.

Shape key: `e` interactions, `u` users, `n` items.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from prorl.config import Prepare
from prorl.tables import DataError


@dataclass(frozen=True)
class Remote:
    """A file to download, and its SHA-256 where the publisher states one."""

    url: str
    sha256: str | None


@dataclass(frozen=True)
class RawLog:
    """One data set as its source gives it, before anything is dropped.

    user [e] and item [e] are positions in `user_ids` and `item_ids`, in file order; timestamp [e] grows with time, in any unit.
    `items` has one row per item: `raw_id`, `title`, and the source's own fields, each of texts or of lists of texts.
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    user_ids: pa.Array
    item_ids: pa.Array
    items: pd.DataFrame

    @classmethod
    def of(cls, users: pa.ChunkedArray, items: pa.ChunkedArray, timestamp: np.ndarray, catalogue: pd.DataFrame, path: Path) -> "RawLog":
        """The log with raw ids `users` [e] and `items` [e] as read from `path`. Raises `DataError` if it has no interaction."""
        if not len(users):
            raise DataError(f"{path}: holds no interaction")
        (user, user_ids), (item, item_ids) = _coded(users), _coded(items)
        return cls(user, item, timestamp, user_ids, item_ids, catalogue)


def _coded(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Positions [e] int32 in the distinct values of `ids`, and those values in order of first appearance."""
    coded = pc.dictionary_encode(ids).combine_chunks()
    return coded.indices.to_numpy(), coded.dictionary


@dataclass(frozen=True)
class Source:
    """Where a data set's raw files come from and how they are read.

    files: for each raw file, the names it may have (the first that is there counts).
    package: folder of an installed package that holds them, as (package, folder), or None.
    remotes: what to download, or empty.
    sha256: checksums of the files in the package, by name.
    read: (raw folder, settings) -> `RawLog`.
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Path, Prepare], RawLog]
    package: tuple[str, str] | None
    remotes: tuple[Remote, ...]
    sha256: dict[str, str]
    terms: str
