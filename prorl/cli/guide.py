"""`prorl guide`: a path for one person, with titles and with what a simulator says of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from prorl.cli import command, completion, policies

if TYPE_CHECKING:
    from prorl.bundle.items import Item
    from prorl.bundle.paths import GuidedPath, Judged
    from prorl.bundle.policy import ReleasedPolicy

GUIDES = ("policy", "search")
SUMMARY = "Write a path that leads a person towards a target."
DESCRIPTION = """\
Write a path that leads a person from what they had last towards a target: items that they are likely to
accept, one after another, after which the target interests them more.

The person is a user of the data (--user: their last 10 items, in a checkout whose data are prepared), or
anybody else (--history: what they had, oldest first; the last 10 count, and none is shown again). Items are
named by title or raw id; case, a missing year and articles do not matter, and for a title that is none the
nearest ones are named.

Shown are each item's attributes, those marked that it shares with the item before; how probably the person
accepts it; and the target's probability and rank among all items before the path and after each item, all by
the simulator that the policy brings along. A policy without one, or an installation without the extra
`pipeline`, shows the path alone."""
EXAMPLES = (
    'prorl guide --user 196 --target "Blade Runner"',
    'prorl guide --history "Toy Story" "Aladdin" "Babe" --target "Alien" --length 6',
    'prorl guide --user 196 --target "Alien" --sample 3 --avoid Horror "Star Wars"',
    'prorl guide --user 196 --target "Alien" --guide search --json',
)


def guide(
    target: Annotated[str, typer.Option(metavar="ITEM", help="Where the path leads: a title or a raw id.")],
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="A user of the checkout's data, by raw id.")
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM..", help="What the person had, oldest first: titles or raw ids."),
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(metavar="N", help="Items of the path: 6, or 4-8. (default: as the policy's rules say)"),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Draw K paths instead of writing the likeliest one."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Of what --sample draws. (default: 1)")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of what --sample draws.")] = 0,
    avoid: Annotated[
        list[str] | None,
        typer.Option(metavar="A..", help="What no item of the path may be: attributes, titles, raw ids."),
    ] = None,
    acceptance: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="How much the person's acceptance is to count, one of those that the policy can be told. "
            "(default: the policy's own)",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--guide",
            metavar="G",
            help="What writes the path: `policy`, or `search` over the simulator.",
            autocompletion=completion.guides,
        ),
    ] = "policy",
    simulator: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="Who judges the path, and is searched: a simulator's folder, or its name in the checkout. "
            "(default: the one that the policy brings along)",
            autocompletion=completion.simulators,
        ),
    ] = None,
    policy: policies.Policy = None,
    as_json: command.AsJson = False,
) -> None:
    """Print a path, or several."""
    import sys

    from prorl.cli.console import print_json

    _check(user, history, sample, temperature, by)
    name = policies.chosen(policy)
    settings = {"length": length_of(length), "avoid": avoid or [], "acceptance": acceptance}
    if user is not None:
        from prorl.cli.users import require_users

        require_users(user)
    from prorl.bundle.policy import load_policy

    released = load_policy(name)
    judge = _judge(released, simulator)
    had = _history(released, user, history or [])
    if by == "search":
        found = released.search(had, target, simulator=judge, **settings)
        paths = cast("list[GuidedPath]", found)  # of one history
    else:
        drawn = (
            {}
            if sample is None
            else {"n": sample, "temperature": 1.0 if temperature is None else temperature, "seed": seed}
        )
        paths = released.guide_each([released.request(had, target, **settings, **drawn)])[0]
    judged, note = _judged(released, paths, judge, must=simulator is not None)
    if as_json:
        print_json(_document(released, paths, judged, {"guide": by, "user": user, "note": note}))
        return
    from prorl.cli.showing import show_paths

    show_paths(released, paths, judged, acceptance)
    if note:
        print(f"{note}", file=sys.stderr)


def length_of(text: str | None) -> int | tuple[int, int] | None:
    """`6` as 6 and `4-8` as (4, 8). Raises `ConfigError` for anything else."""
    from prorl.config.section import ConfigError

    if text is None:
        return None
    least, dash, most = text.partition("-")
    if not (least.isdecimal() and (most.isdecimal() or not dash)):
        raise ConfigError(
            f"--length: got {text!r}, allowed: a number of items such as 6, or a range such as 4-8"
        )
    return (int(least), int(most)) if dash else int(least)


def _check(
    user: str | None, history: list[str] | None, sample: int | None, temperature: float | None, by: str
) -> None:
    """Raise `ConfigError` for options that do not go together."""
    from prorl.config.section import ConfigError

    if (user is None) == (not history):
        found = "neither" if user is None else "both"
        raise ConfigError(f"--user, --history: got {found}, allowed: one of the two")
    if by not in GUIDES:
        raise ConfigError(f"--guide: got {by!r}, allowed: {', '.join(GUIDES)}")
    if temperature is not None and sample is None:
        raise ConfigError(f"--temperature: got {temperature} without --sample, allowed: with it")
    if by == "search" and sample is not None:
        raise ConfigError(
            f"--sample: got {sample} with --guide search, allowed: without; it searches one path"
        )


def _history(released: "ReleasedPolicy", user: str | None, history: list[str]) -> list["Item"]:
    """The items that the person had."""
    from prorl.errors import DataError

    if user is not None:
        from prorl.cli.users import history_of

        return history_of(released, user)
    try:
        return [released.items.find(text) for text in history]
    except DataError as error:
        raise DataError(f"--history: {error}") from None


def _judge(released: "ReleasedPolicy", simulator: str | None) -> Path | None:
    """The folder of the simulator called `simulator`; None: the one that the policy brings along.

    Raises `ConfigError` naming those there are.
    """
    from prorl.config.section import ConfigError
    from prorl.layout import Layout

    if simulator is None:
        return None
    layout = Layout(released.dataset)
    for folder in (Path(simulator), layout.simulator(simulator)):
        if folder.is_dir():
            return folder
    there = sorted(path.name for path in layout.simulators.glob("[!.]*"))
    known = f", or one of {', '.join(there)}" if there else ""
    raise ConfigError(f"--simulator: got {simulator!r}, allowed: a simulator's folder{known}")


def _judged(
    released: "ReleasedPolicy", paths: list["GuidedPath"], judge: Path | None, must: bool
) -> tuple[list["Judged"] | None, str | None]:
    """What the judge says of each path; or None, and a line that says why. Raises where there `must` be."""
    from prorl.config.section import ConfigError

    try:
        return released.judged(paths, judge), None
    except ConfigError as error:  # there is no judge, or what it needs is not installed: the path stands
        if must:
            raise
        return None, f"acceptance, probability and rank are not shown: {error}"


def _document(
    released: "ReleasedPolicy",
    paths: list["GuidedPath"],
    judged: list["Judged"] | None,
    about: dict[str, Any],
) -> dict[str, Any]:
    """What is printed as JSON."""
    found = judged or [None] * len(paths)
    return {
        "policy": {"name": released.name, "dataset": released.dataset, "version": released.version},
        **about,
        "paths": [
            path.as_dict() | {"judged": None if own is None else own.as_dict()}
            for path, own in zip(paths, found, strict=True)
        ],
    }
