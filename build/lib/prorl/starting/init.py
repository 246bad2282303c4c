"""From two files to a data set in params.yaml: look, guess, show, write.

Shape key: `e` interactions.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.check import require
from prorl.config.prepare import Prepare, Tabular
from prorl.config.section import ConfigError
from prorl.datasets.delimited import ReadTable, pc
from prorl.datasets.tabular import texts_of
from prorl.datasets.times import timestamps
from prorl.params import lay_over, read_params
from prorl.paths.sequences import distinct, k_core
from prorl.paths.telling import percent
from prorl.presets import checkable, fill_in_entries, round_trip_yaml, write_params
from prorl.starting.guessing import Columns, common_attributes, guess_columns
from prorl.starting.looking import common_form, look_at, read_both

CORES = (20, 10, 5, 3, 2, 1)  # interactions of users and items, the first that leaves enough
HISTORIES = (10, 5, 3, 2)
LEFT = 0.5  # of the interactions that a k-core must leave, or of its users with a run after their history
N_ROWS = 3  # shown of each table


@dataclass(frozen=True)
class Start:
    """A data set as guessed: its entries in params.yaml by section, and lines that say what was guessed."""

    entries: dict[str, dict[str, Any]]
    lines: list[str]


def start(params_file: Path, interactions: Path, items: Path, chosen: dict[str, str]) -> Start:
    """Look at both files and guess; `chosen` are columns that the user names, see `guess_columns`.

    Raises `ConfigError` or `DataError` for files that cannot be read or are not understood.
    """
    general = read_params(params_file).section(Prepare).tabular
    looks = look_at(interactions), look_at(items)
    form = common_form(*looks)
    log, catalogue = read_both(interactions, items, general.replace(**form))
    columns = guess_columns(log, catalogue, chosen)
    form |= {"interactions": columns.interactions, "items": columns.items}
    if columns.separator is not None:
        form["separator"] = columns.separator
    user, item, described = _codes(log, catalogue, columns)
    k, kept = _core(user[described], item[described])
    history = _history(user[described][kept])
    prepare: dict[str, Any] = {"min_user_interactions": k, "min_item_interactions": k, "tabular": form}
    if "description" in columns.items:
        prepare["profile"] = ["{title}.", "{attributes}.", "{description:.500}"]
    entries = {
        "fetch": {"source": "tabular", "files": {"interactions": _path(interactions), "items": _path(items)}},
        "prepare": prepare,
        "mine": {"history_length": history},
    }
    whole = general.replace(**form)
    if common := common_attributes(catalogue, str(columns.items["attributes"]), whole.separator):
        entries["mine"]["ignored_attributes"] = common
    lines = [line for look in looks if look for line in look.told]
    lines += _table_lines(log, columns.interactions, whole)
    lines += _table_lines(catalogue, columns.items, whole)
    lines += [
        f"    nearly all items have {name!r}, so mine.ignored_attributes leaves it out" for name in common
    ]
    lines.append(
        f"{percent(int(described.sum()), len(user))} of the interactions are with items that {items} "
        "describes"
    )
    lines.append(
        f"k-core of {k}, histories of {history}: {len(kept):,} interactions "
        f"({percent(len(kept), len(user))}) of "
        f"{distinct(user[described][kept]):,} users with {distinct(item[described][kept]):,} items stay"
    )
    return Start(entries, lines)


def add(params_file: Path, name: str, entries: dict[str, dict[str, Any]]) -> None:
    """Append the data set `name` with its `entries` to `params_file`.

    Raises `ConfigError` for one that is there already, and for a name that settings cannot have.
    """
    if name in read_params(params_file).datasets:
        raise ConfigError(f"{params_file}: data set {name!r} is in `datasets` already; init adds a new one")
    document = round_trip_yaml().load(params_file)
    document["datasets"].append(name)
    fill_in_entries(document)
    require(
        checkable(document, f"{name!r} in {params_file}")
    )  # the name first, before it is a key of settings
    for section, entry in entries.items():
        document[section][name].fa.set_block_style()
        lay_over(document[section][name], entry)
    require(checkable(document, f"{name!r} in {params_file}"))
    write_params(document, params_file)


def _path(path: Path) -> str:
    """`path` as settings have it: from the root of the repository where it lies there."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def _codes(log: ReadTable, items: ReadTable, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users and items of the interactions as codes [e] from 0, and which are with a described item [e]."""
    codes = []
    for name in ("user", "item"):
        texts = pc.fill_null(texts_of(log, columns.interactions[name]), "")
        codes.append(texts.dictionary_encode().combine_chunks())
    known = texts_of(items, str(columns.items["item"])).combine_chunks()
    is_known = pc.is_in(codes[1].dictionary, value_set=known).to_numpy(zero_copy_only=False)
    user, item = (coded.indices.to_numpy() for coded in codes)
    return user, item, is_known[item]


def _core(user: np.ndarray, item: np.ndarray) -> tuple[int, np.ndarray]:
    """The largest of `CORES` that leaves enough of the interactions [e], and the positions it leaves."""
    for k in CORES:
        kept = k_core(user, item, k, k).kept
        if len(kept) >= LEFT * len(user):
            return k, kept
    return CORES[-1], np.arange(len(user))


def _history(user: np.ndarray) -> int:
    """The longest of `HISTORIES` after which enough users have two items and more."""
    counts = np.bincount(user)
    counts = counts[counts > 0]
    enough = (length for length in HISTORIES if (counts >= length + 3).mean() >= LEFT)
    return next(enough, HISTORIES[-1])


def _table_lines(read: ReadTable, columns: dict[str, Any], form: Tabular) -> list[str]:
    """What was guessed of one table, and its first rows as they are understood."""
    named = {name: column for name, column in columns.items() if column is not None}
    lines = [f"{read.path}: " + ", ".join(f"{name} is {column!r}" for name, column in named.items())]
    for row in range(min(N_ROWS, read.table.num_rows)):
        shown = []
        for name, column in named.items():
            value = read.column(column)[row].as_py()
            if name == "timestamp":
                value = f"{value} ({_moment(read, column, row)})"
            elif name == "attributes" and isinstance(value, str) and form.separator in value:
                value = [part.strip() for part in value.split(form.separator)]
            shown.append(f"{name} {_cut(str(value))}")
        lines.append("    " + "; ".join(shown))
    if "attributes" in named and not pa.types.is_nested(read.column(named["attributes"]).type):
        lines.append(f"    between attributes stands {form.separator!r}, where they are not lists")
    return lines


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def _moment(read: ReadTable, column: str, row: int) -> str:
    """The time in `row` as a date, and the unit that it is taken for; numbers that count something else."""
    one = ReadTable(read.path, read.table.slice(row, 1), read.first_line, read.line_ends)
    number = int(timestamps(one, column)[0])
    for unit, per_second in UNITS.items():
        if 10**8 <= number / per_second < 10**10:
            return f"{datetime.fromtimestamp(number / per_second, UTC):%Y-%m-%d %H:%M}, {unit}"
    return "counted"
