"""All commands of `prorl` put together, and how they end: the exit status, and errors of one line.

What a command needs is imported when it runs, so that help, completion and mistakes in the command line
answer at once. The pipeline's stages are scripts of their own, started by DVC.
"""

import os
import sys
import warnings
from typing import Any

import typer

from prorl.cli import (
    check,
    command,
    compare,
    datasets,
    estimate,
    experiments,
    export,
    guide,
    init,
    inspecting,
    serve,
)

NAME = "prorl"
COMPLETING = f"_{NAME.upper()}_COMPLETE"  # set by the shell where it asks for completions
DESCRIPTION = """\
Guide people towards a target, and work on the policies that do: check settings, add data sets, run the tables
of the paper, compare runs. A command that works on the repository is run from its root. The pipeline is run
by `dvc repro`."""
OF_USE: type[Exception] = typer.BadParameter.__mro__[1]  # mistakes in a command line; Typer does not name it

app = typer.Typer(name=NAME, help=command.unwrapped(DESCRIPTION), no_args_is_help=False)
for module, function in (
    (guide, guide.guide),
    (serve, serve.serve),
    (estimate, estimate.estimate),
    (export, export.export),
    (init, init.init),
    (check, check.check),
    (compare, compare.compare),
):
    name = function.__name__
    command.add(app, name, module.SUMMARY, module.DESCRIPTION, *module.EXAMPLES)(function)
for group, name in (
    (datasets.app, "datasets"),
    (inspecting.app, "inspect"),
    (experiments.app, "experiments"),
):
    app.add_typer(group, name=name)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit status.

    Errors of use, settings and data are one line on standard error.
    """
    top = typer.main.get_command(app)
    # A released policy needs no NumPy, and Torch says at every start that it has none.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    try:
        if COMPLETING in os.environ:
            top.main(prog_name=NAME)
        given = sys.argv[1:] if arguments is None else arguments
        with top.make_context(NAME, list(given) or ["--help"]) as context:
            status = top.invoke(context)
        sys.stdout.flush()
        return status or 0
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:  # of `prorl ... | head`: what reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{NAME}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"{NAME}: {_of_extra(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if isinstance(error, OF_USE):
            print(_of_use(error), file=sys.stderr)
            return 2
        if not _is_for_people(error):
            raise
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1


def _of_extra(error: ModuleNotFoundError) -> str:
    """What must be installed for a command whose import failed. Raises `error` where nothing is known to be
    missing.
    """
    from prorl.config.section import ConfigError
    from prorl.extras import need

    try:
        need("pipeline", "this command")
    except ConfigError as missing:
        return str(missing)
    raise error


def _of_use(error: Any) -> str:
    """A mistake in the command line as one line, which names the help of the command it was made in."""
    path = error.ctx.command_path if error.ctx is not None else NAME
    words = " ".join(error.format_message().split()).removesuffix(".")
    return f"{NAME}: {words}; see `{path} --help`"


def _is_for_people(error: Exception) -> bool:
    """Whether the message of `error` is all that a person needs."""
    from prorl.config.section import ConfigError
    from prorl.errors import DataError

    kinds: list[type[Exception]] = [ConfigError, DataError]
    if "prorl.worktrees" in sys.modules:  # else nothing has raised its error, and it may lack what it imports
        from prorl.worktrees import WorktreeError

        kinds.append(WorktreeError)
    return isinstance(error, tuple(kinds))
