"""Histories of a checkout's users: a released policy has none."""

from pathlib import Path
from typing import TYPE_CHECKING

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.layout import Layout

if TYPE_CHECKING:
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
    """The last items of the user with the raw id `user`, oldest first, as many as count for `policy`.

    Raises `DataError` for a user that the data do not have, and where the data's items are not the policy's.
    """
    import pyarrow.parquet as pq

    layout = Layout(policy.dataset)
    for path in (layout.splits, layout.interactions, layout.items):
        if not path.exists():
            raise DataError(f"--user: {path}: missing; it belongs to {policy.dataset}, the policy's data set")
    found = pq.read_table(layout.splits, columns=["user"], filters=[("raw_id", "==", user)])["user"]
    if not len(found):
        raw_ids = pq.read_table(layout.splits, columns=["raw_id"])["raw_id"]
        some = ", ".join(map(repr, raw_ids.slice(0, 3).to_pylist()))
        raise DataError(
            f"--user: got {user!r}, allowed: one of the {len(raw_ids)} users of {layout.splits}, such as "
            f"{some}"
        )
    number = found[0].as_py()
    log = pq.read_table(layout.interactions, columns=["item"], filters=[("user", "==", number)])
    numbers = log["item"].to_pylist()[-policy.history_length :]
    items = pq.read_table(layout.items, columns=["item", "raw_id"]).to_pylist()
    raw_ids = {row["item"]: row["raw_id"] for row in items}
    history = []
    for number in numbers:
        item = policy.items[number] if number <= len(policy.items) else None
        if item is None or item.raw_id != raw_ids[number]:
            raise DataError(
                f"{layout.items}: item {number}: got raw id {raw_ids[number]!r}, allowed: "
                f"{item.raw_id if item else 'none'!r}, as in the policy: it was made from other data"
            )
        history.append(item)
    return history
