"""What all commands share: options that take several values, and help with examples."""

from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from prorl.cli import completion

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Command(TyperCommand):
    """A command whose repeatable options also take several values at once: `--history A B`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See Typer's; every value of a repeatable option stands behind its name before that reads them."""
        repeatable = [
            name for option in self.params if getattr(option, "multiple", False) for name in option.opts
        ]
        return super().parse_args(ctx, spread(args, repeatable))


def data_set(text: str, known: Callable[..., list[str]] = completion.data_sets) -> Any:
    """The option `--dataset`, with the help `text`; `known` completes its value."""
    return typer.Option(metavar="D", help=text, autocompletion=known)


def spread(arguments: Iterable[str], repeatable: Collection[str]) -> list[str]:
    """`arguments` with the name of a `repeatable` option before each of its values.

    Values end at the next option and at `--`. The first one may begin with a dash, as for any option.
    """
    found: list[str] = []
    option, is_first = None, False
    rest = iter(arguments)
    for argument in rest:
        if is_first:
            found.append(argument)
            is_first = False
        elif argument == "--":
            found += [argument, *rest]
        elif argument.startswith("-"):
            name, equals, _ = argument.partition("=")
            option = name if name in repeatable else None
            is_first = option is not None and not equals
            found.append(argument)
        else:
            found += [argument] if option is None else [option, argument]
    return found


def add(app: typer.Typer, name: str, summary: str, text: str, *examples: str) -> Callable:
    """A decorator that makes a function the command `name` of `app`; its help is `text` with `examples`."""
    return app.command(
        name,
        cls=Command,
        short_help=summary,
        help=unwrapped(text),
        epilog="\n\n".join(["Examples:", *examples]),
    )


def unwrapped(text: str) -> str:
    """`text` with every paragraph on one line, for a terminal of any width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
