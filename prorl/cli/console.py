"""What commands print for people: tables on a terminal, plain text without colours in a pipe."""

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 120  # columns where nothing says how wide a reader's are
NARROW = 72  # columns below which a table of several columns is a list instead


def console() -> "Console":
    """Standard output; characters that its encoding lacks become `?`."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    width = None
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        width = PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(*columns: str, numbers: tuple[str, ...] = ()) -> "Table":
    """A table with `columns`, of which `numbers` stand to the right."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, header_style="bold", pad_edge=False, show_edge=False)
    for column in columns:
        is_number = column in numbers
        made.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return made


def print_json(value: object) -> None:
    """`value` as JSON on standard output."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
