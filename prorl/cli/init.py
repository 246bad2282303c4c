"""`prorl init`: a data set of one's own from two files."""

from pathlib import Path
from typing import Annotated

import typer

SUMMARY = "Add a data set of your own, from two files."
DESCRIPTION = """\
Add a data set of your own to params.yaml, from a file of interactions and a file of items: CSV, TSV, parquet
or RecBole's .inter and .item, with any names of files and columns. The files are looked at, and what is
guessed is shown with three rows of each: columns, delimiter, quotes, encoding, attributes and what separates
them, the unit of time, a k-core that leaves something. Where a guess is wrong, name the column. With --run
the pipeline runs as far as mining, by `dvc repro mine@NAME`."""
EXAMPLES = (
    "prorl init shop --interactions orders.csv --items products.csv",
    "prorl init shop --interactions orders.csv --items products.csv --title name --attributes tags --run",
)


def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Letters, digits, - and _: it names folders and stages.")
    ],
    interactions: Annotated[Path, typer.Option(metavar="FILE", help="Who had what, and when.")],
    items: Annotated[Path, typer.Option(metavar="FILE", help="Items with title and attributes.")],
    user: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of users, in the interactions.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of items, in the interactions.")
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of times, in the interactions.")
    ] = None,
    item_of_items: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of ids, in the items.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of titles, in the items.")
    ] = None,
    attributes: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of attributes, in the items.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Also fetch, prepare and mine.")] = False,
) -> int:
    """Add a data set from two files; the exit status of the run, where it is asked for."""
    from prorl.params import PARAMS_FILE
    from prorl.starting.init import add, start
    from prorl.starting.running import run_to_mining

    columns = {
        "user": user,
        "item": item,
        "timestamp": timestamp,
        "item_of_items": item_of_items,
        "title": title,
        "attributes": attributes,
    }
    chosen = {key: column for key, column in columns.items() if column is not None}
    found = start(PARAMS_FILE, interactions, items, chosen)
    print("\n".join(found.lines))
    add(PARAMS_FILE, name, found.entries)
    print(f"{PARAMS_FILE}: {name} is in `datasets`, with its entries in {', '.join(found.entries)}")
    if not run:
        print(f"next: dvc repro mine@{name}")
        return 0
    return run_to_mining(name)
