"""Attributes of items, and the text that describes an item to an embedding model."""

from pathlib import Path
from string import Formatter

import pandas as pd

from prorl.config.section import ConfigError
from prorl.datasets.records import without_lone_surrogates
from prorl.datasets.tabular import read_table_of, texts_of
from prorl.errors import DataError
from prorl.files import read_json


def attribute_lists(items: pd.DataFrame, fields: list[str]) -> list[list[str]]:
    """The attributes of each item: the distinct values of `fields`, in that order, without empty ones.

    A field holds texts, each one attribute, or lists of texts. Raises `ConfigError` for a field that `items`
    lacks.
    """
    for name in fields:
        if name not in items.columns:
            raise ConfigError(f"prepare.attributes: got {name!r}, allowed: {', '.join(_fields(items))}")
    columns = [[value if isinstance(value, list) else [value] for value in items[name]] for name in fields]
    return [
        list(dict.fromkeys(value for column in columns for value in column[row] if value))
        for row in range(len(items))
    ]


def without_placeholders(items: pd.DataFrame, placeholders: list[str]) -> tuple[pd.DataFrame, int]:
    """`items` with nothing in place of the values `placeholders`, and how many there were.

    Upper and lower case are one; ids and titles stay as they are.
    """
    none = {placeholder.strip().lower() for placeholder in placeholders}
    columns, count = {}, 0
    for name in items.columns:
        values = items[name].tolist()
        if name not in ("raw_id", "title"):
            kept = [_without(value, none) for value in values]
            count += sum(_size(value) for value in values) - sum(_size(value) for value in kept)
            values = kept
        columns[name] = values
    return pd.DataFrame(columns), count


def item_texts(items: pd.DataFrame, attributes: list[list[str]], pieces: list[str]) -> list[str]:
    """The text of each item: `pieces` with their fields filled in, joined by spaces.

    A piece with an empty field is left out. A field is `{attributes}` or a column of `items`; lists are
    joined by commas, and `{description:.500}` cuts to 500 characters. Raises `ConfigError` for an unknown
    field or a piece that is no template.
    """
    names = {piece: _names(piece, list(dict.fromkeys([*_fields(items), "attributes"]))) for piece in pieces}
    wanted = sorted({name for used in names.values() for name in used})
    values = {
        name: [_text(value) for value in (attributes if name == "attributes" else items[name])]
        for name in wanted
    }
    texts = []
    for row in range(len(items)):
        fields = {name: values[name][row] for name in wanted}
        texts.append(
            " ".join(
                piece.format_map(fields) for piece in pieces if all(fields[name] for name in names[piece])
            )
        )
    return texts


def read_profiles(path: Path, raw_ids: list[str]) -> list[str]:
    """The texts of the items `raw_ids` that were made elsewhere.

    The file is a JSON of raw item id -> text, or a table with columns `raw_id` and `text`. Texts of other
    items are not used. Raises `DataError` if an item has none.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; prepare.profiles names it")
    if path.suffix == ".json":
        try:
            texts = read_json(path)
        except ValueError as error:
            raise DataError(str(error)) from error
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise DataError(f"{path}: allowed: one object of raw item id -> text")
    else:
        read = read_table_of(path)
        keys, values = (texts_of(read, name).to_pylist() for name in ("raw_id", "text"))
        texts = dict(zip(keys, values, strict=True))
    missing = [raw_id for raw_id in raw_ids if not texts.get(raw_id)]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(raw_ids)} items have no text, "
            f"the first is {missing[0]!r}; allowed: one for each"
        )
    return without_lone_surrogates([texts[raw_id] for raw_id in raw_ids])


def _fields(items: pd.DataFrame) -> list[str]:
    return [name for name in items.columns if name != "raw_id"]


def _without(value: str | list[str], none: set[str]) -> str | list[str]:
    if isinstance(value, list):
        return [part for part in value if part.strip().lower() not in none]
    return "" if value.strip().lower() in none else value


def _size(value: str | list[str]) -> int:
    """How many values a field holds."""
    return len(value) if isinstance(value, list) else value != ""


def _text(value: str | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else value


def _names(piece: str, allowed: list[str]) -> list[str]:
    """The fields of one template.

    Only names in `allowed` pass, so that no attribute or index of a value can be reached.
    """
    try:
        parsed = [
            (name, specification or "")
            for _, name, specification, _ in Formatter().parse(piece)
            if name is not None
        ]
    except ValueError as error:
        raise ConfigError(f"prepare.profile: {piece!r} is no template: {error}") from None
    for name, specification in parsed:
        if name not in allowed:
            raise ConfigError(f"prepare.profile: {piece!r} has field {name!r}, allowed: {', '.join(allowed)}")
        if "{" in specification:
            raise ConfigError(
                f"prepare.profile: {piece!r} has a field inside a field, "
                f"allowed: {{{name}}} or a length as in {{{name}:.500}}"
            )
    try:
        piece.format_map(dict.fromkeys(allowed, ""))
    except ValueError as error:
        raise ConfigError(f"prepare.profile: {piece!r} is no template: {error}") from None
    return [name for name, _ in parsed]
