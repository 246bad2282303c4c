"""`prorl datasets`: the data sets of params.yaml."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prorl.cli import command

DESCRIPTION = "The data sets of params.yaml."
ADD = """\
Add a data set to params.yaml: its name to `datasets`, and an empty entry to every section that has entries of
data sets, since DVC needs them. Its entry in `fetch` then says where its raw files come from."""
LIST = """\
List the data sets of params.yaml: where each comes from, what is left of it after filters, how many instances
were mined, and which released policies there are. What has not run yet is left empty."""

app = typer.Typer(help=DESCRIPTION)


@command.add(app, "add", "Add a data set to params.yaml.", ADD, "prorl datasets add shop")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Letters, digits, - and _: it names folders and stages.")
    ],
) -> None:
    """Add a data set to params.yaml."""
    from prorl.params import PARAMS_FILE
    from prorl.presets import PER_DATA_SET, add_data_set

    add_data_set(PARAMS_FILE, name)
    print(f"{PARAMS_FILE}: {name} is in `datasets`, with an empty entry in {len(PER_DATA_SET)} sections")


@command.add(
    app,
    "list",
    "List the data sets, with what there is of each.",
    LIST,
    "prorl datasets list",
    "prorl datasets list --json",
)
def list_data_sets(as_json: command.AsJson = False) -> None:
    """Print a line for each data set."""
    from prorl.cli.console import console, print_json, table

    found = found_data_sets()
    if as_json:
        print_json(found)
        return
    numbers = ("users", "items", "interactions", "instances")
    shown = table("data set", "source", *numbers, "released", numbers=numbers)
    for own in found:
        counts = ["" if own[name] is None else f"{own[name]:,}" for name in numbers]
        shown.add_row(own["name"], own["source"], *counts, ", ".join(own["released"]))
    console().print(shown)


def found_data_sets() -> list[dict[str, Any]]:
    """What is known of each data set: name, source, counts (None before the stage has run), released
    policies.
    """
    from prorl.cli.completion import RELEASED
    from prorl.config.fetch import Fetch
    from prorl.layout import Layout
    from prorl.params import PARAMS_FILE, params_of, read_params_file

    params = params_of(read_params_file(), str(PARAMS_FILE))
    found = []
    for name in params.datasets:
        layout = Layout(name)
        kept = _report(layout.metrics("prepare")).get("kept", {})
        mined = _report(layout.metrics("mine")).get("instances")
        found.append(
            {
                "name": name,
                "source": params.values(Fetch, name).get("source") or name,
                **{key: kept.get(key) for key in ("users", "items", "interactions")},
                "instances": None if mined is None else sum(mined.values()),
                "released": sorted(path.parent.name for path in (RELEASED / name).glob("*/prorl.json")),
            }
        )
    return found


def _report(path: Path) -> dict[str, Any]:
    """The metrics in `path`; empty where the stage has not run."""
    from prorl.files import read_json

    return read_json(path) if path.exists() else {}
