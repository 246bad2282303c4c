"""`prorl compare`: which metrics changed beyond noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prorl.cli import command, completion

if TYPE_CHECKING:
    from prorl.cli.changes import Change, Changes

SUMMARY = "Tell which metrics changed beyond noise between two runs."
DESCRIPTION = """\
Compare two runs, metric by metric, and tell which changed beyond noise. A and B are each a git revision, the
name of a DVC experiment, a folder (a checkout, or one with evaluation.json or per_prompt.parquet), a parquet
file of results per prompt, or `workspace`: the results as they lie here.

Where both runs have results of the same prompts at hand (in the workspace, a folder or DVC's cache), they are
paired prompt by prompt: a metric has changed if the 95% interval of its mean difference, over users, excludes
0. Else it has changed if the committed 95% intervals do not overlap, which misses small changes; this is
said. Of many metrics one in twenty seems changed by chance."""
EXAMPLES = (
    "prorl compare HEAD workspace",
    "prorl compare HEAD~1 HEAD --guide prorl --all",
    "prorl compare reports/ml-100k ../other/reports/ml-100k --json",
)
Run = Annotated[str, typer.Argument(help="A git revision, a DVC experiment, a folder, or `workspace`.")]


def compare(
    a: Run,
    b: Run,
    dataset: Annotated[
        str | None,
        command.data_set("A data set. (default: the only one that both runs have results of)"),
    ] = None,
    guide: Annotated[
        list[str] | None,
        typer.Option(metavar="G..", help="Only these guides.", autocompletion=completion.judged_guides),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(metavar="S..", help="Only by these judges.", autocompletion=completion.simulators),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show what has not changed too.")] = False,
    as_json: command.AsJson = False,
) -> None:
    """Print what changed from A to B."""
    from prorl.cli.changes import changes
    from prorl.cli.console import print_json
    from prorl.cli.sides import sides_of

    side_a, side_b = sides_of(Path.cwd(), (a, b), dataset)
    found = changes(side_a, side_b, guide or (), judge or ())
    if as_json:
        print_json(
            {
                "a": side_a.told,
                "b": side_b.told,
                "metrics": [row.as_dict() for row in found.rows],
                "unpaired": found.unpaired,
                "alone": found.alone,
            }
        )
        return
    _print(found, (side_a.told, side_b.told), show_all)


def _print(found: "Changes", told: tuple[str, str], show_all: bool) -> None:
    from prorl.cli.console import console, table

    out = console()
    changed = [row for row in found.rows if row.changed]
    out.print(f"A: {told[0]}\nB: {told[1]}")
    shown = found.rows if show_all else changed
    if shown:
        numbers = ("A", "B", "B - A")
        rows = table("guide", "metric", "judge", *numbers, "95%", "", numbers=numbers)
        for row in shown:
            rows.add_row(*_cells(row), style=None if row.changed else "dim")
        out.print(rows)
    out.print(f"{len(changed)} of {len(found.rows)} metrics changed beyond noise.")
    for reason, guides in _by_reason(found.unpaired).items():
        out.print(f"Compared by whether intervals overlap, since {reason}: {', '.join(guides)}.")
    for side, guides in found.alone.items():
        out.print(f"Only in {side}: {', '.join(guides)}.")


def _cells(row: "Change") -> list[str]:
    from prorl.metrics.registry import decimals_of, label

    way, slash, metric = row.metric.rpartition("/")
    digits = decimals_of(metric)
    interval = "" if row.low is None else f"{row.low:+.{digits}f} to {row.high:+.{digits}f}"
    verdict = {True: "better", False: "worse", None: "changed" if row.changed else ""}[row.better]
    name = f"{label(metric)}, {way}" if slash else label(metric)
    values = [f"{row.a:.{digits}f}", f"{row.b:.{digits}f}", f"{row.difference:+.{digits}f}"]
    return [row.guide, name, row.judge or "", *values, interval, verdict]


def _by_reason(unpaired: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for guide, reason in unpaired.items():
        found.setdefault(reason, []).append(guide)
    return found
