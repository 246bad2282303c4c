"""Histories of a checkout's users: a released policy has none."""

from pathlib import Path
from typing import TYPE_CHECKING

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

    from prorl.bundle.items import Item
    from prorl.bundle.policy import ReleasedPolicy


def require_users(user: str) -> None:
    """Raise `ConfigError` where there are no prepared data in which `user` could be found."""
    if not Path("data/prepared").is_dir():
        raise ConfigError(
            f"--user: got {user!r}, but data/prepared/ is not here: allowed: in a checkout whose data are "
            "prepared; elsewhere give --history"
        )


def history_of(policy: "ReleasedPolicy", user: str) -> list["Item"]:
    """The last items of the user with the raw id `user`, oldest first: as many as count for `policy`, which
    are all that it was given of a user where it was judged.

    Raises `DataError` for a user that the data do not have, and where the data's items are not the policy's.
    """
    from pyarrow.compute import call_function

    from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS

    layout = Layout(policy.dataset)
    for path in (layout.splits, layout.interactions, layout.items):
        if not path.exists():
            raise DataError(f"--user: {path}: missing; it belongs to {policy.dataset}, the policy's data set")
    users = _columns(layout.splits, USER_SPLITS, "user", "raw_id")
    raw_ids = users["raw_id"].to_pylist()
    if user not in raw_ids:
        # None is named: a terminal's output is copied to where users' ids must not be.
        raise DataError(
            f"--user: got {user!r}, allowed: a raw id of the {len(raw_ids)} users of {layout.splits}"
        )
    log = _columns(layout.interactions, INTERACTIONS, "user", "item")
    own = call_function("equal", [log["user"], users["user"][raw_ids.index(user)]])
    numbers = log["item"].filter(own).to_pylist()[-policy.history_length :]
    items = _columns(layout.items, ITEMS, "item", "raw_id")
    raw_id_of = dict(zip(items["item"].to_pylist(), items["raw_id"].to_pylist(), strict=True))
    history = []
    for number in numbers:
        item = policy.items[number] if number <= len(policy.items) else None
        if item is None or item.raw_id != raw_id_of[number]:
            raise DataError(
                f"{layout.items}: item {number}: got raw id {raw_id_of[number]!r}, allowed: "
                f"{item.raw_id if item else 'none'!r}, as in the policy: it was made from other data"
            )
        history.append(item)
    return history


def _columns(path: Path, schema: "pa.Schema", *names: str) -> "pa.Table":
    """Columns of the table at `path`, a file or a folder of parts, that has `schema`."""
    import pyarrow as pa

    from prorl.tables import read_table

    return read_table(path, pa.schema([schema.field(name) for name in names]))
