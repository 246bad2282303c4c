"""`prorl estimate`: what a policy would have earned, from a service's log."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prorl.cli import command, policies

if TYPE_CHECKING:
    from prorl.bundle.policy import ReleasedPolicy
    from prorl.offpolicy.estimate import Estimate
    from prorl.serving.log import ServiceLog

SUMMARY = "Estimate from a service's log what a policy would have earned."
DESCRIPTION = """\
Estimate how many items of a path people would have accepted, had a released policy led them instead of the
one that wrote the log. LOG are files or folders that `prorl serve --explore T --log FOLDER --log-histories`
wrote.

The policy is asked the same as the one that wrote the log: for the same lengths, without the same items. It
is told --acceptance and samples at --temperature. Where every request showed one item, the estimators are
`ips` and `snips`; for paths they are `per_decision_ips` and `cascade_doubly_robust`, whose model of rewards
knows positions alone and is fitted on the other half of the users. Intervals are 95%, over users. Warnings
say where an estimate is not to be believed. Needs the extra `pipeline`."""
EXAMPLES = (
    "prorl estimate logs/",
    "prorl estimate logs/ --policy models/released/ml-100k/prorl --temperature 0.8",
    "prorl estimate logs/ --acceptance 0.5 --interval normal --json",
)
OF_ITEMS, OF_PATHS = ("ips", "snips"), ("per_decision_ips", "cascade_doubly_robust")


def estimate(
    log: Annotated[list[Path], typer.Argument(help="Files or folders of a service's log.")],
    policy: policies.Policy = None,
    acceptance: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="How much acceptance is to count, as the policy is told. (default: the policy's own)",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="At which the policy would sample; above 0.")
    ] = 1.0,
    interval: Annotated[
        Literal["bootstrap", "normal"],
        typer.Option(metavar="bootstrap|normal", help="How intervals over users are made."),
    ] = "bootstrap",
    resamples: Annotated[int, typer.Option(metavar="N", min=1, help="Of the bootstrap.")] = 2000,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the bootstrap, and of the halves of users.")
    ] = 0,
    as_json: command.AsJson = False,
) -> None:
    """Print an estimate by each estimator that the log allows."""
    from prorl.cli.console import print_json
    from prorl.extras import need

    need("pipeline", "an estimate from a log")
    name = policies.chosen(policy)
    from prorl.bundle.policy import load_policy
    from prorl.offpolicy.estimate import estimate as estimated
    from prorl.offpolicy.policy import AskedTarget
    from prorl.offpolicy.position_values import PositionValues
    from prorl.policy.guide import PolicyGuide
    from prorl.serving.log import read_log

    read = read_log(log)
    released = load_policy(name)
    told = released.acceptance if acceptance is None else acceptance
    guide = PolicyGuide.load(released.folder, None, released.device, "float32").told(told)
    wanted = OF_ITEMS if (read.log.length == 1).all() else OF_PATHS
    models = {"cascade_doubly_robust": PositionValues(guide, temperature, seed=seed)}
    found = [
        estimated(
            read.log,
            AskedTarget(guide, temperature),
            estimator,
            values=models.get(estimator),
            interval=interval,
            n_resamples=resamples,
            seed=seed,
        )
        for estimator in wanted
    ]
    notes = [*read.notes, *_notes(read, released)]
    if as_json:
        about = {"policy": released.name, "dataset": released.dataset, "version": released.version}
        print_json(
            {
                **about,
                "acceptance": told,
                "temperature": temperature,
                "estimates": [asdict(own) for own in found],
                "notes": notes,
            }
        )
        return
    _print(found, f"{released.dataset}/{released.name}, version {released.version}", told, temperature, notes)


def _notes(read: "ServiceLog", released: "ReleasedPolicy") -> Iterator[str]:
    """What a reader should know of the log beside its own notes."""
    models = sorted(set(read.log.model.tolist()))
    if others := [model for model in models if model != released.version]:
        yield (
            f"written by another policy, version {', '.join(others)}: its items must have the same numbers "
            "as this one's"
        )
    left_out, shown = (OF_PATHS, "one item") if (read.log.length == 1).all() else (OF_ITEMS, "several items")
    yield f"{', '.join(left_out)}: left out, since requests show {shown}"


def _print(
    found: list["Estimate"], policy: str, told: float | None, temperature: float, notes: list[str]
) -> None:
    from prorl.cli.console import console, table

    out, first = console(), found[0]
    out.print(
        f"Log:     {first.n_requests:,} requests of {first.n_users:,} users, "
        f"{first.logged:.3f} items accepted per request"
    )
    words = "" if told is None else f", told acceptance {told:g}"
    out.print(f"Policy:  {policy}{words}, at temperature {temperature:g}")
    numbers = ("accepted per request", "effective requests", "largest weight")
    made = table("estimator", numbers[0], "95%", *numbers[1:], numbers=numbers)
    for own in found:
        bounds = ["none" if bound is None else f"{bound:.3f}" for bound in (own.low, own.high)]
        made.add_row(
            own.estimator,
            f"{own.value:.3f}",
            " to ".join(bounds),
            f"{own.n_effective:,.1f}",
            f"{own.largest_weight:.3g}",
        )
    out.print(made)
    for warning in dict.fromkeys(warning for own in found for warning in own.warnings):
        out.print(f"Warning: {warning}", style="yellow")
    for note in notes:
        out.print(f"Note: {note}")
