"""`prorl`, the command line for people. The pipeline's stages are scripts of their own, started by DVC."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.worktrees import WorktreeError

DESCRIPTION = """\
Settings and experiments of ProRL: check params.yaml, add a data set to it, and run the tables of the paper on
this repository's pipeline. The pipeline itself is run by `dvc repro`, see README.md. Run from the root of the
repository."""
CHECK = """\
Print every mistake in params.yaml, a line each: in single settings, in settings that do not agree with each
other, and in names of simulators, estimators and the like. The exit status is 1 where there is any."""
ADD = """\
Add a data set to params.yaml: its name to `datasets`, and an empty entry to every section that has entries of
data sets, since DVC needs them. Its entry in `fetch` then says where its raw files come from."""
RUN = """\
Run every row of an experiment for every seed, one `dvc exp run` after another, in the worktree
.experiments/<dataset>; the checkout stays as it is. Stages whose code, parameters and inputs have run before
are taken from the cache; `evaluate` and `report` are not kept there, and run again. What has run on the
checked-out commit is skipped, so after an interruption the same command goes on."""
TABLE = """\
Print an experiment's table, ours beside the published figures. One of all rows and seeds, run on the
checked-out commit, is also written to reports/experiments/<dataset>/<name>.md and .json. Means over seeds
with 95% intervals over users; rows are compared prompt by prompt."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit status.

    Errors of use, settings and data are one line on standard error.
    """
    options = parser().parse_args(arguments)
    try:
        status = options.command(options) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # of `prorl ... | head`: what reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ConfigError, DataError, WorktreeError) as error:
        print(f"prorl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("prorl: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="prorl", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = top.add_subparsers(required=True, metavar="command")
    _command(groups, "check", check_settings, "every mistake in params.yaml", CHECK)
    datasets = groups.add_parser("datasets", help="the data sets of params.yaml")
    commands = datasets.add_subparsers(required=True, metavar="command")
    add = _command(commands, "add", add_data_set, "add a data set to params.yaml", ADD)
    add.add_argument("name", help="letters, digits, - and _: it names folders and stages")
    experiments = groups.add_parser("experiments", help="the tables of the paper, and ours")
    commands = experiments.add_subparsers(required=True, metavar="command")
    about = "List the experiments there are, with their rows."
    _command(commands, "list", list_experiments, "the experiments there are", about)
    run = _command(commands, "run", run_experiment, "run an experiment's rows over seeds", RUN)
    table = _command(
        commands, "table", show_table, "an experiment's table beside the published figures", TABLE
    )
    for command in (run, table):
        command.add_argument("name", help="a file of experiments/, without .yaml")
        command.add_argument(
            "--dataset",
            metavar="D",
            help="a data set of params.yaml, or the name of a preset (default: the first of params.yaml)",
        )
        command.add_argument(
            "--seeds",
            type=int,
            nargs="+",
            metavar="N",
            help="training seeds (default: those of the experiment's file)",
        )
        command.add_argument("--only", nargs="+", default=[], metavar="ROW", help="only these rows")
    run.add_argument(
        "--queue", action="store_true", help="put the runs into DVC's queue instead, and say how to start it"
    )
    table.add_argument("--format", choices=["md", "json"], default="md", help="what is printed (default: md)")
    table.add_argument(
        "--commit",
        default="HEAD",
        metavar="REV",
        help="the commit that the experiment ran on (default: HEAD)",
    )
    return top


def _command(
    commands, name: str, function: Callable, summary: str, description: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(command=function)
    return command


# What a command needs is imported when it runs: help and mistakes in the command line then answer at once.


def check_settings(options: argparse.Namespace) -> int:
    """Print what is wrong in params.yaml; the exit status."""
    from prorl.names import every_finding
    from prorl.params import PARAMS_FILE, read_params_file

    found = every_finding(read_params_file(), str(PARAMS_FILE))
    print("\n".join(found) or f"{PARAMS_FILE}: no mistakes")
    return 1 if found else 0


def add_data_set(options: argparse.Namespace) -> None:
    """Add a data set to params.yaml."""
    from prorl.params import PARAMS_FILE
    from prorl.presets import PER_DATA_SET, add_data_set

    add_data_set(PARAMS_FILE, options.name)
    print(
        f"{PARAMS_FILE}: {options.name} is in `datasets`, with an empty entry in {len(PER_DATA_SET)} sections"
    )


def list_experiments(options: argparse.Namespace) -> None:
    """Print every experiment's name, title and rows."""
    from prorl.experiments.definition import experiment_names, read_experiment

    for name in experiment_names(Path.cwd()):
        experiment = read_experiment(Path.cwd(), name)
        print(f"{name}: {experiment.contents.title}")
        print(f"    rows: {', '.join(experiment.contents.rows)}")


def run_experiment(options: argparse.Namespace) -> None:
    """Run what is missing of an experiment."""
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.running import run_all

    experiment = read_experiment(Path.cwd(), options.name).only(options.only)
    run_all(
        Path.cwd(), experiment, options.dataset, options.seeds or experiment.contents.seeds, options.queue
    )


def show_table(options: argparse.Namespace) -> None:
    """Print an experiment's table, and write it where it is the whole one of the checked-out commit."""
    from prorl.experiments.comparison import compare, read_results
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.pages import document, markdown, write_page
    from prorl.experiments.running import base_params
    from prorl.worktrees import git, head

    root = Path.cwd()
    experiment = read_experiment(root, options.name).only(options.only)
    commit = git(root, "rev-parse", "--verify", f"{options.commit}^{{commit}}").strip()
    params = base_params(root, commit, options.dataset)
    dataset, seeds = options.dataset or params["datasets"][0], options.seeds or experiment.contents.seeds
    comparison = compare(experiment, read_results(root, experiment, params, dataset, seeds, commit))
    about = (experiment, comparison, dataset, seeds, commit)
    if not options.only and seeds == experiment.contents.seeds and commit == head(root):
        write_page(root, *about)
    print(markdown(root, *about) if options.format == "md" else json.dumps(document(*about), indent=2))


if __name__ == "__main__":
    sys.exit(main())
