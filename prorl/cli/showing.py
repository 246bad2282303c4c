"""Guided paths as people read them: a table, or on a narrow terminal a list."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prorl.cli.console import NARROW, console, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from prorl.bundle.items import Item
    from prorl.bundle.paths import GuidedPath, Judged
    from prorl.bundle.policy import ReleasedPolicy

SHARED = "*"  # behind an attribute that the item before has too
NUMBERS = ("accepts", "target", "rank")
LEGEND = f"{SHARED} shared with the item before."
LEGEND_OF_JUDGE = (
    "accepts: how probably the person accepts the item; target, rank: the target's probability and rank "
    "among all items, after it."
)


def show_paths(
    released: "ReleasedPolicy",
    paths: Sequence["GuidedPath"],
    judged: Sequence["Judged"] | None,
    acceptance: float | None,
) -> None:
    """Print `paths` of one person towards one target; `judged` are what a simulator says of them, if any."""
    out = console()
    told = released.acceptance if acceptance is None else acceptance
    first = paths[0]
    out.print(f"History: {' > '.join(map(name_of, first.history))}")
    out.print(f"Target:  {name_of(first.target)}  {', '.join(first.target.attributes)}")
    words = f"Policy:  {released.dataset}/{released.name}, version {released.version}"
    out.print(words if told is None else f"{words}, told acceptance {told:g}")
    for number, path in enumerate(paths, start=1):
        out.print()
        if len(paths) > 1:
            out.print(f"Path {number} of {len(paths)}", style="bold")
        own = None if judged is None else judged[number - 1]
        (_list if out.width < NARROW else _table)(out, path, own)
        if own is not None:
            out.print(summary(path, own))
    out.print()
    out.print(LEGEND if judged is None else f"{LEGEND} {LEGEND_OF_JUDGE}", style="dim")


def summary(path: "GuidedPath", judged: "Judged") -> str:
    """A path in one sentence."""
    probability, rank = judged.target_probability, judged.target_rank
    accepted = sum(judged.acceptance) / len(judged.acceptance)
    return (
        f"{name_of(path.target)}: probability {percent(probability[0])} before, {percent(probability[-1])} "
        f"after; rank {rank[0]:,} before, {rank[-1]:,} after. Items are accepted with {percent(accepted)} on "
        "average."
    )


def name_of(item: "Item") -> str:
    """An item's title; its raw id where it has none."""
    return item.title or item.raw_id


def percent(probability: float) -> str:
    """A probability with three digits."""
    return f"{100 * probability:.3g}%"


def _rows(path: "GuidedPath", judged: "Judged | None") -> Iterator[tuple[str, str, "Text", list[str]]]:
    """Number, title, attributes and, where they are judged, figures of each line of a path: before it, each
    item, and the target.
    """
    from rich.text import Text

    from prorl.bundle.paths import reasons

    if judged is not None:
        figures = ["", percent(judged.target_probability[0]), f"{judged.target_rank[0]:,}"]
        yield "", "(before)", Text(), figures
    for step, (item, why) in enumerate(zip(path.items, path.reasons, strict=True)):
        figures = []
        if judged is not None:
            after = percent(judged.target_probability[step + 1]), f"{judged.target_rank[step + 1]:,}"
            figures = [percent(judged.acceptance[step]), *after]
        yield str(step + 1), name_of(item), _attributes(item, why), figures
    shared = reasons((*path.history, *path.items), (path.target,))[0]
    yield (
        "",
        f"Target: {name_of(path.target)}",
        _attributes(path.target, shared),
        [""] * 3 * (judged is not None),
    )


def _attributes(item: "Item", shared: Sequence[str]) -> "Text":
    from rich.text import Text

    text = Text()
    for number, attribute in enumerate(item.attributes):
        text.append(", " if number else "")
        text.append(*((f"{attribute}{SHARED}", "green") if attribute in shared else (attribute,)))
    return text


def _table(out: "Console", path: "GuidedPath", judged: "Judged | None") -> None:
    numbers = NUMBERS if judged is not None else ()
    made = table("", "item", "attributes", *numbers, numbers=("", *numbers))
    for number, title, attributes, figures in _rows(path, judged):
        made.add_row(number, title, attributes, *figures, style=None if number else "bold")
    out.print(made)


def _list(out: "Console", path: "GuidedPath", judged: "Judged | None") -> None:
    for number, title, attributes, figures in _rows(path, judged):
        out.print(f"{number}. {title}" if number else title, style=None if number else "bold")
        if attributes:
            out.print("   ", attributes, sep="")
        named = [f"{name} {figure}" for name, figure in zip(NUMBERS, figures, strict=False) if figure]
        if named:
            out.print(f"   {', '.join(named)}")
