"""The source of an interaction log, and the log that its raw files give.

Shape key: `e` interactions, `u` users, `n` items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from prorl.config.prepare import Prepare
from prorl.errors import DataError

pc: Any = pyarrow.compute  # makes most of its functions on import, where type checkers do not see them


@dataclass(frozen=True)
class RawLog:
    """One data set as its source gives it, before anything is dropped.

    user [e] and item [e] are positions in `user_ids` and `item_ids`, in file order. timestamp [e] grows
    with time, in any unit. `items` has one row per item: `raw_id`, `title`, and the source's own fields,
    which hold texts or lists of texts. `unusable` counts the records that the reader left out, by reason.
    `told` is what a person should know of how the files were read, a line each.
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    user_ids: pa.Array
    item_ids: pa.Array
    items: pd.DataFrame
    unusable: dict[str, int]
    told: list[str] = field(default_factory=list)


def raw_log(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    timestamp: np.ndarray,
    catalogue: pd.DataFrame,
    unusable: dict[str, int],
    path: Path,
    told: Sequence[str] = (),
) -> RawLog:
    """The log with raw ids `users` [e] and `items` [e] as read from `path`.

    Interactions without an id of their user or item are left out, and counted among `unusable`: many users
    without an id would otherwise be one. Raises `DataError` if no interaction is left.
    """
    has_user, has_item = (pc.fill_null(pc.not_equal(ids, ""), False) for ids in (users, items))
    usable = pc.and_(has_user, has_item)
    unusable = dict(unusable)
    if not pc.all(usable, min_count=0).as_py():
        unusable["interactions_without_user"] = len(users) - pc.sum(has_user).as_py()
        unusable["interactions_without_item"] = pc.sum(pc.and_(has_user, pc.invert(has_item))).as_py()
        users, items, timestamp = users.filter(usable), items.filter(usable), timestamp[usable.to_numpy()]
    if not len(users):
        left_out = f"; left out were {unusable}" if any(unusable.values()) else ""
        raise DataError(f"{path}: holds no interaction{left_out}")
    (user, user_ids), (item, item_ids) = coded(users), coded(items)
    return RawLog(user, item, timestamp, user_ids, item_ids, catalogue, unusable, list(told))


def coded(ids: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
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
    attributes, profile: what `prepare.attributes` and `prepare.profile` are where they are null. Without
    `remotes` and `installed` the files can only come from a local archive. licence: what the publisher states
    of the data's licence.
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[[Path, Prepare], RawLog]
    remotes: tuple[Remote, ...] = field(default=())
    installed: InstalledFiles | None = field(default=None)
    attributes: tuple[str, ...] = field(default=())
    profile: tuple[str, ...] = field(default=("{title}", "{attributes}"))
    licence: str = field(default="The data's publisher states none.")

    def completed(self, settings: Prepare) -> Prepare:
        """`settings` with the source's own attributes and profile where they are null."""
        attributes = list(self.attributes) if settings.attributes is None else settings.attributes
        profile = list(self.profile) if settings.profile is None else settings.profile
        return settings.replace(attributes=attributes, profile=profile)
