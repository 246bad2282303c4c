"""The reference of all commands, docs/command-line.md, made from what they say of themselves.

`python -m tools.command_line` prints it, `--write` writes it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from prorl.cli.app import NAME, app

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "command-line.md"
HEADER = f"""\
# The command line

Every command of `{NAME}`, as its `--help` says it. This page is made by
`python -m tools.command_line --write`.

An option marked with `..` takes several values, one after another or each behind the option's name. Errors
are one line on standard error: status 1 for settings and data, 2 for a mistake in the command line. In a pipe
output is plain text, and `NO_COLOR=1` switches colours off on a terminal. `{NAME} --install-completion` lets
the shell complete commands, options, and names of data sets, experiments, guides, simulators and released
policies.
"""


def commands(of: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    yield from _commands(get_command(of), NAME)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, own in getattr(command, "commands", {}).items():
        yield from _commands(own, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


def page() -> str:
    """The page as Markdown."""
    return "\n".join([HEADER, *(section(path, command) for path, command in commands(app))])


def section(path: str, command: Any) -> str:
    """What a command does, its arguments and options, and examples."""
    arguments = [called(own) for own in command.params if own.param_type_name == "argument"]
    parts = [
        f"## {path}\n",
        f"{marked(command.help)}\n",
        f"```\n{' '.join([path, *arguments])} [OPTIONS]\n```\n",
    ]
    if command.params:
        rows = [("", ""), ("---", "---"), *map(row, command.params)]
        parts.append("\n".join(f"| {' | '.join(own)} |" for own in rows) + "\n")
    examples = command.epilog.split("\n\n")[1:]
    parts.append("\n".join(["```bash", *examples, "```"]) + "\n")
    return "\n".join(parts)


def called(argument: Any) -> str:
    """An argument as help names it."""
    return argument.metavar or argument.name.upper()


def row(parameter: Any) -> tuple[str, str]:
    """An argument or an option with what its value is called, and what it says."""
    words, default = parameter.help, parameter.default
    if parameter.param_type_name == "argument":
        return f"`{called(parameter)}`", marked(words)
    if parameter.required:
        words += " Required."
    elif default is not None and default is not False and "(default: " not in words:
        words += f" (default: {default})"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    name = f"`{parameter.opts[0]}{value}`"
    return name.replace("|", "\\|"), marked(words).replace("|", "\\|")


def marked(text: str) -> str:
    """`text` with options as code: Markdown may make one dash of two."""
    parts = text.split("`")  # every second one is code
    parts[::2] = [re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", part) for part in parts[::2]]
    return "`".join(parts)


def main(arguments: list[str]) -> None:
    """Print the page, or write it with `--write`."""
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tools.command_line [--write]")
    if arguments:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
