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
other, and in names of simulators, estimators and the like; and folders of guides that it does not name any
more. Where there is none, the files of experiments/ are read too, and the settings of all their rows. The
exit status is 1 where there is any mistake."""
ADD = """\
Add a data set to params.yaml: its name to `datasets`, and an empty entry to every section that has entries of
data sets, since DVC needs them. Its entry in `fetch` then says where its raw files come from."""
INIT = """\
Add a data set of your own to params.yaml, from a file of interactions and a file of items: CSV, TSV, parquet
or RecBole's .inter and .item, with any names of files and columns. The files are looked at, and what is
guessed is shown with three rows of each: columns, delimiter, quotes, encoding, attributes and what separates
them, the unit of time, a k-core that leaves something. Where a guess is wrong, name the column. With --run
the pipeline runs as far as mining, by `dvc repro mine@NAME`."""
RUN = """\
Run every row of an experiment for every seed, one `dvc exp run` after another, in the worktree
.experiments/<dataset>; the checkout stays as it is. Stages whose code, parameters and inputs have run before
are taken from the cache; `evaluate` and `report` are not kept there, and run again. What has run on the
checked-out commit is skipped, so after an interruption the same command goes on.

With --long the rows are trained as the experiment's `long` part says: for the paper's passes, hours a row.
Each row that ends is committed, its results and the table alone, so the command can be stopped at any time;
started again, it goes on with the row it was in."""
TABLE = """\
Print an experiment's table, ours beside the published figures. One of all rows and seeds, run on the
checked-out commit, is also written to reports/experiments/<dataset>/<name>.md and .json. Means over seeds
with 95% intervals over users; rows are compared prompt by prompt. With --long it is the table of the rows
trained for the paper's passes, as far as they have run: reports/experiments/<dataset>/<name>-long.md."""


COLUMN_OPTIONS = {  # of `prorl init`
    "user": "users, in the interactions",
    "item": "items, in the interactions",
    "timestamp": "times, in the interactions",
    "item-of-items": "ids, in the items",
    "title": "titles, in the items",
    "attributes": "attributes, in the items",
}


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
    _command(groups, "check", check_settings, "every mistake in params.yaml and experiments/", CHECK)
    init = _command(groups, "init", init_data_set, "a data set of your own, from two files", INIT)
    init.add_argument("name", help="letters, digits, - and _: it names folders and stages")
    init.add_argument(
        "--interactions", required=True, type=Path, metavar="FILE", help="who had what, and when"
    )
    init.add_argument(
        "--items", required=True, type=Path, metavar="FILE", help="items with title and attributes"
    )
    for option, what in COLUMN_OPTIONS.items():
        init.add_argument(f"--{option}", metavar="COLUMN", help=f"the column of {what}")
    init.add_argument("--run", action="store_true", help="also fetch, prepare and mine")
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
        command.add_argument(
            "--long", action="store_true", help="the rows trained for as many passes as the paper's"
        )
    run.add_argument(
        "--queue", action="store_true", help="put the runs into DVC's queue instead, and say how to start it"
    )
    table.add_argument("--format", choices=["md", "json"], default="md", help="what is printed (default: md)")
    table.add_argument(
        "--commit",
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
    """Print what is wrong in params.yaml and in the files of experiments; the exit status."""
    from prorl.experiments.checking import findings
    from prorl.experiments.definition import FOLDER
    from prorl.guides.folders import left_behind
    from prorl.names import every_finding
    from prorl.params import PARAMS_FILE, params_of, read_params_file

    raw = read_params_file()
    found = every_finding(raw, str(PARAMS_FILE))
    found = found or list(left_behind(params_of(raw, str(PARAMS_FILE))))
    if found:  # what the rows of experiments are laid over
        print("\n".join(found))
        return 1
    print(f"{PARAMS_FILE}: no mistakes")
    if not Path(FOLDER).is_dir():
        return 0
    found = findings(Path.cwd(), raw)
    print("\n".join(found) or f"{FOLDER}/: no mistakes")
    return 1 if found else 0


def add_data_set(options: argparse.Namespace) -> None:
    """Add a data set to params.yaml."""
    from prorl.params import PARAMS_FILE
    from prorl.presets import PER_DATA_SET, add_data_set

    add_data_set(PARAMS_FILE, options.name)
    print(
        f"{PARAMS_FILE}: {options.name} is in `datasets`, with an empty entry in {len(PER_DATA_SET)} sections"
    )


def init_data_set(options: argparse.Namespace) -> int:
    """Add a data set from two files; the exit status of the run, where it is asked for."""
    from prorl.params import PARAMS_FILE
    from prorl.starting.init import add, start
    from prorl.starting.running import run_to_mining

    names = [option.replace("-", "_") for option in COLUMN_OPTIONS]
    chosen = {name: column for name in names if (column := getattr(options, name)) is not None}
    found = start(PARAMS_FILE, options.interactions, options.items, chosen)
    print("\n".join(found.lines))
    add(PARAMS_FILE, options.name, found.entries)
    print(f"{PARAMS_FILE}: {options.name} is in `datasets`, with its entries in {', '.join(found.entries)}")
    if not options.run:
        print(f"next: dvc repro mine@{options.name}")
        return 0
    return run_to_mining(options.name)


def list_experiments(options: argparse.Namespace) -> None:
    """Print every experiment's name, title and rows."""
    from prorl.experiments.definition import experiment_names, read_experiment

    for name in experiment_names(Path.cwd()):
        experiment = read_experiment(Path.cwd(), name)
        print(f"{name}: {experiment.contents.title}")
        print(f"    rows: {', '.join(experiment.contents.rows)}")
        if long := experiment.contents.long:
            print(f"    --long: {long.pretrain_passes} passes of pre-training, {long.passes} of fine-tuning")


def run_experiment(options: argparse.Namespace) -> None:
    """Run what is missing of an experiment."""
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.long import run_long
    from prorl.experiments.running import run_all

    root, experiment = Path.cwd(), read_experiment(Path.cwd(), options.name)
    if options.long:
        if options.queue:
            raise ConfigError("--queue: got --long too, allowed: without it, since each row is committed")
        experiment = experiment.at_maturity()
        seeds = options.seeds or experiment.contents.seeds
        run_long(root, experiment, options.only, options.dataset, seeds)
        return
    seeds = options.seeds or experiment.contents.seeds
    run_all(root, experiment.only(options.only), options.dataset, seeds, options.queue)


def show_table(options: argparse.Namespace) -> None:
    """Print an experiment's table, and write it where it is the whole one of the checked-out commit."""
    from prorl.experiments.comparison import compare, read_results
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.long import Store
    from prorl.experiments.pages import document, markdown, write_page
    from prorl.experiments.running import base_params
    from prorl.worktrees import git, head

    root = Path.cwd()
    if options.long and options.commit:
        raise ConfigError("--commit: got --long too, allowed: without it; the rows that are kept are shown")
    experiment = read_experiment(root, options.name)
    experiment = (experiment.at_maturity() if options.long else experiment).only(options.only)
    commit = git(root, "rev-parse", "--verify", f"{options.commit or 'HEAD'}^{{commit}}").strip()
    params = base_params(root, commit, options.dataset)
    dataset, seeds = options.dataset or params["datasets"][0], options.seeds or experiment.contents.seeds
    if options.long:
        results = Store(root, experiment, dataset).results(params, seeds)
    else:
        results = read_results(root, experiment, params, dataset, seeds, commit)
    about = (experiment, compare(experiment, results), dataset, seeds, None if options.long else commit)
    if not options.only and seeds == experiment.contents.seeds and commit == head(root):
        write_page(root, *about)
    print(markdown(root, *about) if options.format == "md" else json.dumps(document(*about), indent=2))


if __name__ == "__main__":
    sys.exit(main())
