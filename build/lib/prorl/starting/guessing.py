"""Which columns of a user's two tables are the user, the item, the time, the title and the attributes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from prorl.config.section import ConfigError
from prorl.datasets.attribute_texts import LISTED, AttributeTexts
from prorl.datasets.delimited import ReadTable
from prorl.datasets.tabular import texts_of
from prorl.datasets.times import timestamps
from prorl.errors import DataError
from prorl.starting.looking import plain_name

# Names of columns, likeliest first, as `plain_name` gives them.
USERS = (
    *("user", "userid", "uid", "reviewerid", "username", "customerid", "customer", "visitorid", "memberid"),
    *("accountid", "personid", "profileid", "profilename", "sessionid", "session"),
)
ITEMS = (
    *("item", "itemid", "iid", "movieid", "parentasin", "asin", "productid", "product", "appid", "gameid"),
    *("bookid", "isbn", "newsid", "trackid", "songid", "artistid", "businessid", "recipeid", "articleid"),
    *("animeid", "contentid", "videoid", "movie", "book", "id"),
)
TIMES = (
    *("timestamp", "time", "unixreviewtime", "datetime", "date", "ts", "createdat", "eventtime", "unixtime"),
    *("reviewtime", "watchedat", "datetimestamp", "when"),
)
TITLES = (
    *("title", "movietitle", "name", "appname", "productname", "producttitle", "itemname", "booktitle"),
    *("itemtitle", "trackname", "songtitle", "headline"),
)
ATTRIBUTES = (
    *("attributes", "genres", "genre", "categories", "category", "class", "tags", "tag", "topics", "topic"),
    *("subjects", "subcategory", "maincategory", "type", "brand", "author"),
)
DESCRIPTIONS = ("description", "abstract", "overview", "summary", "plot", "shortdescription")
SEPARATORS = ("|", ";", ", ", ",", "/")  # of attributes; a space only where RecBole's type says so
SAMPLE = 5000  # values that are compared or tried
MANY = 0.05  # of the values that hold a separator
NEARLY_ALL = 0.9  # of the items
KNOWN = 0.5  # of the ids of the interactions that the items must describe


@dataclass(frozen=True)
class Columns:
    """Names of columns in the files, None where there is none, and what separates attributes in a text."""

    interactions: dict[str, str]
    items: dict[str, str | None]
    separator: str | None


def guess_columns(log: ReadTable, items: ReadTable, chosen: dict[str, str]) -> Columns:
    """The columns of both tables; `chosen` may name those of user, item, item_of_items, timestamp, title and
    attributes.

    Raises `ConfigError` naming the columns there are where one cannot be guessed.
    """
    for name, table in (
        ("user", log),
        ("item", log),
        ("timestamp", log),
        ("title", items),
        ("attributes", items),
    ):
        if name in chosen:
            table.column(chosen[name])
    item, own_id = _item_columns(log, items, chosen)
    time = chosen.get("timestamp") or _time_column(log, item)
    user = chosen.get("user") or _named(log, USERS, but=(item, time)) or _user_by_place(log, item, time)
    title = chosen.get("title") or _named(items, TITLES, but=(own_id,)) or _title_by_place(items, own_id)
    attributes = chosen.get("attributes") or _attributes_column(items, but=(own_id, title))
    described = _named(items, DESCRIPTIONS, but=(own_id, title, attributes))
    found: dict[str, str | None] = {"item": own_id, "title": title, "attributes": attributes}
    if described is not None:
        found["description"] = described
    return Columns({"user": user, "item": item, "timestamp": time}, found, _separator(items, attributes))


def _named(read: ReadTable, names: Sequence[str], but: Sequence[str | None] = ()) -> str | None:
    """The column with the likeliest of `names`, None where none has any."""
    columns = {
        plain_name(column): column for column in reversed(read.table.column_names) if column not in but
    }
    return next((columns[name] for name in names if name in columns), None)


def _unknown(read: ReadTable, what: str, option: str) -> ConfigError:
    return ConfigError(
        f"{read.path}: no column looks like {what}; found {', '.join(read.table.column_names)}; name it by "
        f"{option}"
    )


def _sample(read: ReadTable, column: str) -> list[str] | None:
    """Different texts of a column, at most `SAMPLE`; None where its values have no text."""
    try:
        texts = texts_of(read, column)
    except DataError:  # records, images and the like: no column that is looked for
        return None
    return [text for text in texts.unique().to_pylist() if text][:SAMPLE]


def _item_columns(log: ReadTable, items: ReadTable, chosen: dict[str, str]) -> tuple[str, str]:
    """The column of the interactions and that of the items that hold the same ids, the best named first."""
    best, found = None, -1.0
    for own_id in items.table.column_names:
        known = _ids_of(items, own_id)
        if known is None or (chosen.get("item_of_items") or own_id) != own_id:
            continue
        for place, column in enumerate(log.table.column_names):
            values = _sample(log, column) if (chosen.get("item") or column) == column else None
            if not values or plain_name(column) in (*USERS, *TIMES, "rating"):
                continue
            share = sum(value in known for value in values) / len(values)
            score = (
                round(share, 2)
                + (plain_name(column) in ITEMS)
                + (plain_name(own_id) in ITEMS) / 2
                + (place == 1) / 10  # without names, users usually come first
                + min(len(values), 100) / 1000  # a rating of 1 to 5 is no item
            )
            if share > KNOWN / 10 and score > found:
                best, found = (column, own_id), score
    if best is None:
        raise ConfigError(
            f"{log.path}: no column holds ids that stand in {items.path}; found "
            f"{', '.join(log.table.column_names)} "
            f"and {', '.join(items.table.column_names)}; name them by --item and --item-of-items"
        )
    return best


def _ids_of(items: ReadTable, column: str) -> set[str] | None:
    """The values of a column of items that are all different, as ids are; None for another column."""
    try:
        texts = texts_of(items, column)
    except DataError:  # as in `_sample`
        return None
    known = set(texts.drop_null().to_pylist())
    return known if len(known) >= 0.99 * len(texts) else None


def _time_column(log: ReadTable, item: str) -> str:
    """The column named like a time whose values are times; else the last whose values can be nothing else."""
    named = sorted(
        (column for column in log.table.column_names if plain_name(column) in TIMES and column != item),
        key=lambda column: TIMES.index(plain_name(column)),
    )
    others = [column for column in reversed(log.table.column_names) if column not in (*named, item)]
    head = ReadTable(log.path, log.table.slice(0, SAMPLE), log.first_line, log.line_ends)
    for column in (*named, *others):
        try:
            times = timestamps(head, column)
        except DataError:  # values that are no times
            continue
        if column in named or np.median(times) >= 10**8:
            return column
    raise _unknown(log, "the time", "--timestamp")


def _user_by_place(log: ReadTable, item: str, time: str) -> str:
    """The first other column of a file without names."""
    others = [column for column in log.table.column_names if column not in (item, time)]
    if others and others[0].isdigit():
        return others[0]
    raise _unknown(log, "the user", "--user")


def _title_by_place(items: ReadTable, own_id: str) -> str | None:
    """The first other column of a file without names; None where names say that there is no title."""
    others = [column for column in items.table.column_names if column != own_id]
    return others[0] if others and others[0].isdigit() else None


def _attributes_column(items: ReadTable, but: Sequence[str | None]) -> str:
    """The column named like attributes that holds any, else the first of lists, or of texts with `|`."""
    names = [column for column in items.table.column_names if column not in but]
    named = sorted(
        (column for column in names if plain_name(column) in ATTRIBUTES),
        key=lambda column: ATTRIBUTES.index(plain_name(column)),
    )
    for column in (*named, *names):
        kind = items.column(column).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            if not pa.types.is_nested(kind.value_type) and _fills(items, column):
                return column
            continue
        values = _sample(items, column)
        if values and (column in named or _share(values, "|") > MANY or _share_of_lists(values) > MANY):
            return column
    raise _unknown(items, "attributes, such as genres or categories", "--attributes")


def common_attributes(items: ReadTable, column: str, separator: str) -> list[str]:
    """Attributes that nearly all items have, so that sharing them says nothing; such as a root category."""
    values, texts = items.column(column), AttributeTexts(separator)
    if pa.types.is_nested(values.type):
        lists = [[str(part) for part in row or []] for row in values.to_pylist()]
    else:
        rows = texts_of(items, column).to_pylist()
        lists = [texts.split(text or "", items, row) for row, text in enumerate(rows)]
    counts = Counter(name for row in lists for name in set(row))
    usual = [name for name, count in counts.items() if count >= NEARLY_ALL * len(lists)]
    return usual if len(usual) < len(counts) else []


def _fills(items: ReadTable, column: str) -> bool:
    """Whether a column of lists says something of a fifth of the items."""
    return 5 * sum(bool(row) for row in items.column(column).to_pylist()) >= items.table.num_rows


def _share(values: list[str], mark: str) -> float:
    return sum(mark in value for value in values) / len(values)


def _share_of_lists(values: list[str]) -> float:
    return sum(LISTED.fullmatch(value.strip()) is not None for value in values) / len(values)


def _separator(items: ReadTable, column: str) -> str | None:
    """What stands between attributes that are text: the first of `SEPARATORS` that more than a few hold.

    None for lists, for texts written as lists, and where none does.
    """
    values = _sample(items, column) if not pa.types.is_nested(items.column(column).type) else None
    if not values or _share_of_lists(values) > KNOWN:
        return None
    if column.endswith(":token_seq"):
        return " "
    found = next((mark for mark in SEPARATORS if _share(values, mark) > MANY), None)
    return found.strip() if found else None
