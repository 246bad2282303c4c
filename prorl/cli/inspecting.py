"""`prorl inspect`: what lies behind a policy's items."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prorl.cli import command, completion

if TYPE_CHECKING:
    from prorl.bundle.items import Item, Items

DESCRIPTION = "Look at what lies behind items."
IDS = """\
Show an item's semantic ID, its codes level by level, and its neighbours: the items that share its first
codes, the most shared first. Close items should be alike, in what they are or in who likes them; where they
are not, the profile texts, vectors or the quantiser are worth a look. A policy with item IDs has no codes.

ITEM is a title, a raw id, or the item's number in the tables; a raw id comes before a number. Semantic IDs
and items are those of the checkout, or of a released policy."""

app = typer.Typer(help=DESCRIPTION)


@dataclass(frozen=True)
class Level:
    """The items that share exactly the first `shared` codes of an item with it, by number."""

    shared: int
    neighbours: tuple[int, ...]


@command.add(
    app,
    "semantic-ids",
    "Show an item's codes, and the items that share its first ones.",
    IDS,
    'prorl inspect semantic-ids "Toy Story"',
    "prorl inspect semantic-ids 50 --dataset ml-100k --limit 20",
    "prorl inspect semantic-ids Alien --policy models/released/ml-100k/prorl --json",
)
def semantic_ids(
    item: Annotated[str, typer.Argument(help="A title, a raw id or a number.")],
    dataset: Annotated[
        str | None, command.data_set("A data set of params.yaml. (default: the first one)")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="P", help="A released policy's folder, instead.", autocompletion=completion.policies
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The most neighbours of a level.")] = 10,
    as_json: command.AsJson = False,
) -> None:
    """Print codes and neighbours."""
    from prorl.bundle.folder import read_items
    from prorl.cli.console import print_json
    from prorl.errors import DataError
    from prorl.semantic_ids.reading import read_semantic_ids

    table, ids = _files(dataset, policy)
    items = read_items(table)
    found = named(items, item)
    codes, tokens = (part.tolist() for part in read_semantic_ids(ids))
    if len(codes) != len(items):
        raise DataError(f"{ids}: got {len(codes)} items, allowed: {len(items)}, those of {table}")
    levels = neighbours(codes, found.item)
    if as_json:
        print_json(_document(items, found, codes[found.item - 1], tokens[found.item - 1], levels))
        return
    _print(items, found, codes, levels, limit)


def named(items: "Items", text: str) -> "Item":
    """The item with the raw id, title or number `text`. Raises `DataError` as `Items.find` does."""
    from prorl.errors import DataError

    try:
        return items.find(text)
    except DataError:
        if text.isdecimal() and 1 <= int(text) <= len(items):
            return items[int(text)]
        raise


def neighbours(codes: list[list[int]], item: int) -> list[Level]:
    """For each number of first codes that others share with `item` (from 1; codes of item i at i - 1), the
    most first, those that share exactly so many.
    """
    own = codes[item - 1]
    of_shared: dict[int, list[int]] = {shared: [] for shared in range(len(own) - 1, 0, -1)}
    for number, other in enumerate(codes, start=1):
        shared = next((k for k, (a, b) in enumerate(zip(own, other, strict=True)) if a != b), len(own))
        if shared and number != item:
            of_shared[shared].append(number)
    return [Level(shared, tuple(found)) for shared, found in of_shared.items()]


def _files(dataset: str | None, policy: str | None) -> tuple[Path, Path]:
    """The table of items, and the one of semantic IDs.

    Raises `DataError` for a policy whose items have no codes.
    """
    from prorl.bundle.folder import OWN_FILE, read_own
    from prorl.config.section import ConfigError
    from prorl.errors import DataError
    from prorl.layout import IDS_FILE, Layout

    if policy is not None:
        if dataset is not None:
            raise ConfigError("--dataset: got --policy too, allowed: one of the two")
        if read_own(Path(policy)).get("identifiers") == "item":
            raise DataError(
                f"{Path(policy) / OWN_FILE}: identifiers: got 'item', each item a token of its own, allowed: "
                "'semantic'; --dataset shows the semantic IDs of the checkout"
            )
        return Path(policy) / "items.parquet", Path(policy) / IDS_FILE
    if dataset is None:
        from prorl.params import read_params

        dataset = read_params().datasets[0]
    layout = Layout(dataset)
    return layout.items, layout.semantic_ids / IDS_FILE


def _document(
    items: "Items", item: "Item", codes: list[int], tokens: list[int], levels: list[Level]
) -> dict[str, Any]:
    """What is printed as JSON."""
    return {
        "item": item.as_dict() | {"number": item.item},
        "codes": codes,
        "tokens": tokens,
        "neighbours": [
            {"shared": level.shared, "items": [items[number].as_dict() for number in level.neighbours]}
            for level in levels
        ],
    }


def _print(items: "Items", item: "Item", codes: list[list[int]], levels: list[Level], limit: int) -> None:
    from prorl.cli.console import console, table
    from prorl.cli.showing import name_of

    out, own = console(), codes[item.item - 1]
    out.print(f"{name_of(item)}  {', '.join(item.attributes)}")
    out.print(f"raw id {item.raw_id}, item {item.item} of {len(items)}, codes {' '.join(map(str, own))}")
    made = table("shared", "codes", "item", "attributes")
    empty = []
    for level in levels:
        if not level.neighbours:
            empty.append(level.shared)
        for place, number in enumerate(level.neighbours[:limit]):
            near = items[number]
            words = f"{level.shared} of {len(own)}" if place == 0 else ""
            ids = " ".join(map(str, codes[number - 1]))
            made.add_row(words, ids, name_of(near), ", ".join(near.attributes))
        if (more := len(level.neighbours) - limit) > 0:
            made.add_row("", "", f"and {more} more", "")
    if made.row_count:
        out.print(made)
    for shared in empty:
        out.print(f"No other item shares exactly the first {shared} of {len(own)} codes.")
