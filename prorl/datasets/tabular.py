"""A user's own interactions and items, as parquet or delimited text.

`prepare.<dataset>.tabular` names their columns and says how texts are written.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from prorl.config.prepare import Prepare, Tabular
from prorl.config.section import ConfigError
from prorl.datasets.attribute_texts import AttributeTexts
from prorl.datasets.delimited import ReadTable, TextForm, all_true, content, first_false, pc, read_delimited
from prorl.datasets.parts import joined, part_files
from prorl.datasets.sources import RawLog, Source, raw_log
from prorl.datasets.times import timestamps, units_told
from prorl.errors import DataError

# Of files that end so, what stands between two values.
DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
PARQUET = ".parquet"
ELSEWHERE = ".url"  # of a file that names where the interactions lie, where they are not fetched
ENDINGS = ("parquet", "csv", "tsv", "inter", "item", "txt", "dat", "data")
INTERACTIONS, ITEMS = (tuple(f"{stem}.{ending}" for ending in ENDINGS) for stem in ("interactions", "items"))
NO_ID = "\\N"  # how databases write null


def read_tabular(folder: Path, settings: Prepare) -> RawLog:
    """Read the log. Fields of its items: those that `settings.tabular.items` names beside id and title.

    A field that `settings.attributes` lists is a list column, a list written as text, or text that is split
    at `settings.tabular.separator`. Rows without an id are left out and counted.
    """
    form = settings.tabular
    _check_names("interactions", form.interactions, {"user", "item", "timestamp"})
    path = present(folder, "interactions")
    if path.suffix == ELSEWHERE:
        found = path.read_text(encoding="utf-8")
        raise ConfigError(f"prepare.engine: got local, allowed for the interactions at {found}: spark")
    log = read_table_of(path, form, "interactions", list(form.interactions.values()))
    users, items = (ids_of(log, form.interactions[name]) for name in ("user", "item"))
    timestamp = timestamps(log, form.interactions["timestamp"])
    catalogue, unusable, told = read_catalogue(folder, settings)
    told = [*_line_ends_told(log), *units_told(timestamp, log), *told]
    return raw_log(users, items, timestamp, catalogue, unusable, log.path, told)


def read_catalogue(folder: Path, settings: Prepare) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """The items of the log in `folder`, one row each, rows that were left out, by reason, and what is told of
    the reading.
    """
    _check_names("items", settings.tabular.items, {"item"})
    unusable: dict[str, int] = {}
    catalogue, told = _read_items(present(folder, "items"), settings, unusable)
    return catalogue, unusable, told


def read_table_of(
    path: Path, form: Tabular | None = None, which: str = "", columns: list[str] | None = None
) -> ReadTable:
    """The table in a parquet or delimited file, told by its ending.

    form: how texts are written, None for CSV and TSV as most programs write them; `which` of its tables this
    is. Of a parquet file only `columns` are read, if it has them all. Raises `DataError` if it cannot be
    read.
    """
    if path.is_dir():
        return joined(path, [read_table_of(part, form, which, columns) for part in part_files(path)])
    if path.suffix == PARQUET:
        return _read_parquet(path, columns)
    delimiter = (form.delimiter if form else None) or DELIMITERS.get(path.suffix)
    if delimiter is None:
        raise ConfigError(
            f"prepare.tabular.delimiter: got null, allowed for {path.name}: what stands between two values; "
            f"it is known of {', '.join(DELIMITERS)} and parquet alone"
        )
    if form is None:
        return read_delimited(path, TextForm(delimiter, quote='"'))
    names = None
    if which in form.without_header:
        width = content(path, form.encoding).partition(b"\n")[0].count(delimiter.encode()) + 1
        names = [str(place) for place in range(1, width + 1)]
    return read_delimited(path, TextForm(delimiter, names, form.encoding, form.quote))


def _read_parquet(path: Path, columns: list[str] | None) -> ReadTable:
    try:
        names = pq.read_schema(path).names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"{path}: column {twice!r} stands there {names.count(twice)} times; found {names}"
            )
        complete = columns is not None and set(columns) <= set(names)
        table = pq.read_table(path, columns=columns if complete else None)
        table.validate(full=True)  # that texts are UTF-8, too
        return ReadTable(path, table, None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}") from error


def _read_items(path: Path, settings: Prepare, unusable: dict[str, int]) -> tuple[pd.DataFrame, list[str]]:
    """One row per item, and what is told of how they were read; counts rows without an id in `unusable`."""
    mapping = {name: present for name, present in settings.tabular.items.items() if present is not None}
    read = read_table_of(path, settings.tabular, "items")
    raw_ids = ids_of(read, mapping.pop("item"))
    items: dict[str, list] = {"raw_id": raw_ids.to_pylist(), "title": [""] * len(raw_ids)}
    attributes = AttributeTexts(settings.tabular.separator)
    for name, present in mapping.items():
        values = read.column(present)
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            if pa.types.is_nested(values.type.value_type):
                raise DataError(
                    f"{path}: column {present!r} is {values.type}, allowed: texts or lists of texts"
                )
            items[name] = [_listed(row) for row in values.to_pylist()]
        elif name in (settings.attributes or []):
            texts = texts_of(read, present).to_pylist()
            items[name] = [attributes.split(text or "", read, row) for row, text in enumerate(texts)]
        else:
            items[name] = [text or "" for text in texts_of(read, present).to_pylist()]
    frame = pd.DataFrame(items)
    if without_id := int((frame["raw_id"] == "").sum()):
        unusable["items_without_id"] = without_id
        frame = frame.loc[frame["raw_id"] != "", :].reset_index(drop=True)
    return frame, [*_line_ends_told(read), *attributes.told(path)]


def _listed(row: list | None) -> list[str]:
    """The texts of one list of a parquet file."""
    return [str(value).strip() for value in row or [] if value is not None and str(value).strip()]


def texts_of(read: ReadTable, name: str) -> pa.ChunkedArray:
    """Column `name` as texts, whatever its type; whole numbers without decimals, NaN as null.

    Raises `DataError` for a column whose values have no text, such as one of records, and for an infinity.
    """
    values = read.column(name)
    if pa.types.is_float16(values.type):  # which Arrow cannot round
        values = pc.cast(values, pa.float32())
    if pa.types.is_floating(values.type):
        finite = pc.invert(pc.is_inf(values))
        if not all_true(finite):
            raise DataError(f"{read.place(first_false(finite))}: {name} is infinite, allowed: a number")
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        whole = pc.and_(pc.equal(values, pc.round(values)), pc.less(pc.abs(values), 2.0**63))
        if all_true(pc.fill_null(whole, True)):
            values = pc.cast(values, pa.int64())
    try:
        return values if pa.types.is_string(values.type) else pc.cast(values, pa.string())
    except pa.ArrowException as error:
        raise DataError(
            f"{read.path}: column {name!r} is {values.type}, allowed: texts or numbers"
        ) from error


def ids_of(read: ReadTable, name: str) -> pa.ChunkedArray:
    """The raw ids in column `name`, unchanged; empty where there is none."""
    ids = pc.fill_null(texts_of(read, name), "")
    return pc.if_else(pc.equal(ids, NO_ID), "", ids)


def _line_ends_told(read: ReadTable) -> list[str]:
    if read.parts:
        return [line for part in read.parts for line in _line_ends_told(part)]
    if not read.line_ends:
        return []
    line, held = max(read.line_ends, key=lambda value: value[1])
    return [
        f"{read.path}: {len(read.line_ends):,} quoted values hold line ends; the longest begins on line "
        f"{line} "
        f"and ends on line {line + held}. Where quotes are characters like any other, set "
        "prepare.tabular.quote: null"
    ]


def _check_names(table: str, mapping: dict, needed: set[str]) -> None:
    for name in sorted(needed):
        if mapping.get(name) is None:
            raise ConfigError(f"prepare.tabular.{table}.{name}: got null, allowed: the name of a column")


def present(folder: Path, stem: str) -> Path:
    """The file or folder in `folder` that is named `stem`, whatever its ending; `fetch` puts exactly one."""
    return next(path for path in sorted(folder.iterdir()) if path.stem == stem)


TABULAR = Source(
    files=(INTERACTIONS, ITEMS),
    read=read_tabular,
    attributes=("attributes",),
    licence="Your own data; `release.licence` says under which terms.",
)
