"""The source of an interaction log, and the log that its raw files give.

Shape key: `e` interactions, `u` users, `n` items.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prorl.config.prepare import Prepare
from prorl.tables import DataError


@dataclass(frozen=True)
class RawLog:
    """One data set as its source gives it, before anything is dropped.

    user [e] and item [e] are positions in `user_ids` and `item_ids`, in file order. timestamp [e] grows
    with time, in any unit. `items` has one row per item: `raw_id`, `title`, and the source's own fields,
    which hold texts or lists of texts. `unusable` counts the records that the reader left out, by reason.
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    user_ids: pa.Array
    item_ids: pa.Array
    items: pd.DataFrame
    unusable: dict[str, int]


def raw_log(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    timestamp: np.ndarray,
    catalogue: pd.DataFrame,
    unusable: dict[str, int],
    path: Path,
) -> RawLog:
    """The log with raw ids `users` [e] and `items` [e] as read from `path`.

    Raises `DataError` if it has no interaction.
    """
    if not len(users):
        raise DataError(f"{path}: holds no interaction")
    (user, user_ids), (item, item_ids) = _coded(users), _coded(items)
    return RawLog(user, item, timestamp, user_ids, item_ids, catalogue, unusable)


def _coded(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Positions [e] int32 in the distinct values of `ids`, and those values in order of first appearance."""
    coded = ids.dictionary_encode().combine_chunks()
    return coded.indices.to_numpy(), coded.dictionary


@dataclass(frozen=True)
class Remote:
    """A file to download, and its SHA-256 where the publisher states one.

    It is a raw file, or a zip of the raw files.
    """

    url: str
    sha256: str | None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class InstalledFiles:
    """Raw files inside an installed package, by name, with their SHA-256."""

    package: str
    folder: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class Source:
    """The raw files of a data set: where they come from, and how they are read.

    files: for each raw file the names it may have. read: (folder of the raw files, settings) -> `RawLog`.
    Without `remotes` and `installed` the files can only come from a local archive.
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Path, Prepare], RawLog]
    remotes: tuple[Remote, ...] = field(default=())
    installed: InstalledFiles | None = field(default=None)
