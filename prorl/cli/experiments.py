"""`prorl experiments`: the tables of the paper on this repository's pipeline."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from prorl.cli import command, completion

DESCRIPTION = "The tables of the paper, and ours."
LIST = "List the experiments there are, with their rows."
RUN = """\
Run every row of an experiment for every seed, one `dvc exp run` after another, in the worktree
`.experiments/<dataset>`; the checkout stays as it is. Stages whose code, parameters and inputs have run
before are taken from the cache; `evaluate` and `report` are not kept there, and run again. What has run on
the checked-out commit is skipped, so after an interruption the same command goes on.

With --long the rows are trained as the experiment's `long` part says: for the paper's passes, hours a row.
Each row that ends is committed, its results and the table alone, so the command can be stopped at any time;
started again, it goes on with the row it was in."""
TABLE = """\
Print an experiment's table, ours beside the published figures. One of all rows and seeds, run on the
checked-out commit, is also written to `reports/experiments/<dataset>/<name>.md` and .json. Means over seeds
with 95% intervals over users; rows are compared prompt by prompt. With --long it is the table of the rows
trained for the paper's passes, as far as they have run: `reports/experiments/<dataset>/<name>-long.md`."""

app = typer.Typer(help=DESCRIPTION)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A file of experiments/, without .yaml.", autocompletion=completion.experiments
    ),
]
Dataset = Annotated[
    str | None,
    command.data_set(
        "A data set of params.yaml, or the name of a preset. (default: the first of params.yaml)",
        completion.data_sets_and_presets,
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(metavar="N..", help="Training seeds. (default: those of the experiment's file)"),
]
Only = Annotated[list[str] | None, typer.Option(metavar="ROW..", help="Only these rows.")]
Long = Annotated[bool, typer.Option("--long", help="The rows trained for as many passes as the paper's.")]


@command.add(app, "list", "List the experiments there are.", LIST, "prorl experiments list")
def list_experiments() -> None:
    """Print every experiment's name, title and rows."""
    from prorl.experiments.definition import experiment_names, read_experiment

    for name in experiment_names(Path.cwd()):
        experiment = read_experiment(Path.cwd(), name)
        print(f"{name}: {experiment.contents.title}")
        print(f"    rows: {', '.join(experiment.contents.rows)}")
        if long := experiment.contents.long:
            print(f"    --long: {long.pretrain_passes} passes of pre-training, {long.passes} of fine-tuning")


@command.add(
    app,
    "run",
    "Run an experiment's rows over seeds.",
    RUN,
    "prorl experiments run estimators",
    "prorl experiments run estimators --only position_specific grpo --seeds 1 2",
)
def run_experiment(
    name: Name,
    dataset: Dataset = None,
    seeds: Seeds = None,
    only: Only = None,
    long: Long = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Put the runs into DVC's queue, and say how to start it.")
    ] = False,
) -> None:
    """Run what is missing of an experiment."""
    from prorl.config.section import ConfigError
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.long import run_long
    from prorl.experiments.running import run_all

    root, experiment, rows = Path.cwd(), read_experiment(Path.cwd(), name), only or []
    if long:
        if queue:
            raise ConfigError("--queue: got --long too, allowed: without it, since each row is committed")
        experiment = experiment.at_maturity()
        run_long(root, experiment, rows, dataset, seeds or experiment.contents.seeds)
        return
    run_all(root, experiment.only(rows), dataset, seeds or experiment.contents.seeds, queue)


@command.add(
    app,
    "table",
    "Print an experiment's table beside the published figures.",
    TABLE,
    "prorl experiments table estimators",
    "prorl experiments table rewards --format json --commit HEAD~1",
)
def show_table(
    name: Name,
    dataset: Dataset = None,
    seeds: Seeds = None,
    only: Only = None,
    long: Long = False,
    format: Annotated[Literal["md", "json"], typer.Option(metavar="md|json", help="What is printed.")] = "md",
    commit: Annotated[
        str | None,
        typer.Option(metavar="REV", help="The commit that the experiment ran on. (default: HEAD)"),
    ] = None,
) -> None:
    """Print an experiment's table, and write it where it is the whole one of the checked-out commit."""
    import json

    from prorl.config.section import ConfigError
    from prorl.experiments.comparison import compare, read_results
    from prorl.experiments.definition import read_experiment
    from prorl.experiments.long import Store
    from prorl.experiments.pages import document, markdown, write_page
    from prorl.experiments.running import base_params
    from prorl.worktrees import git, head

    root = Path.cwd()
    if long and commit:
        raise ConfigError("--commit: got --long too, allowed: without it; the rows that are kept are shown")
    experiment = read_experiment(root, name)
    experiment = (experiment.at_maturity() if long else experiment).only(only or [])
    ran_on = git(root, "rev-parse", "--verify", f"{commit or 'HEAD'}^{{commit}}").strip()
    params = base_params(root, ran_on, dataset)
    dataset, seeds = dataset or params["datasets"][0], seeds or experiment.contents.seeds
    if long:
        results = Store(root, experiment, dataset).results(params, seeds)
    else:
        results = read_results(root, experiment, params, dataset, seeds, ran_on)
    about = (experiment, compare(experiment, results), dataset, seeds, None if long else ran_on)
    if not only and seeds == experiment.contents.seeds and ran_on == head(root):
        write_page(root, *about)
    print(markdown(root, *about) if format == "md" else json.dumps(document(*about), indent=2))
