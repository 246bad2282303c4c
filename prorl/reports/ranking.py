"""Guides ranked: by the main judge, with what steers each and what each costs, and against `prorl`.

A simulator has three roles: it steers a guide while that writes, a guide was trained on it, it judges. What
steers by the main judge is shown, and not ranked by it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.pretrain import Pretrain
from prorl.config.selection import Selection
from prorl.metrics.intervals import holm
from prorl.metrics.registry import METRICS, decimals_of, headline
from prorl.params import Params
from prorl.reports.inputs import ReportInputs
from prorl.reports.tables import MISSING, STATES, Table, judges, number, with_interval

OWN = "prorl"  # what every other guide is compared with
CLEAR = 0.05  # an adjusted p-value below it
SHOWN = ("ioi", "ior", "ctr", "coherence", "distinct", "length")


@dataclass(frozen=True)
class Roles:
    """The simulators that steer a guide, and those that it was trained on."""

    steers: list[str] = field(default_factory=list)
    trained_on: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """How guides were run and are ranked: by whom and by what, under which rules; the roles of simulators;
    and milliseconds per prompt, where a page is to hold what belongs to one machine.
    """

    selection: Selection
    decoding: Decoding
    roles: dict[str, Roles]
    milliseconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        params: Params,
        inputs: ReportInputs,
        selection: Selection,
        decoding: Decoding,
        milliseconds: dict[str, float] | None = None,
    ) -> Self:
        """That of the guides of `inputs`, run with `params`."""
        # Another simulator of these trains the policies again, and so changes what is evaluated.
        trained_on = [params.values(kind, inputs.dataset)["simulator"] for kind in (Pretrain, Finetune)]
        if beside := inputs.quantize["beside_embeddings"]:  # its vectors have a part in the policies' tokens
            trained_on.insert(0, beside)
        roles = {"pretrained": Roles(trained_on=list(dict.fromkeys(trained_on[:-1])))}
        roles[OWN] = Roles(trained_on=list(dict.fromkeys(trained_on)))
        for name, record in inputs.guides.items():
            roles[name] = roles_of(record, params.simulators, inputs.evaluation[name].get(STATES))
        return cls(selection, decoding, roles, milliseconds or {})


def roles_of(record: dict[str, Any], simulators: Collection[str], states: float | None) -> Roles:
    """The roles of `simulators` for the guide with the guide.json `record`, which computes `states` of them
    per prompt.

    All that the settings of a guide without training name steer it. Of one that was trained, `simulator`
    steers it if it computes states, and the others, or without others the same, is what it was trained on.
    """
    settings = record["settings"]
    named = [name for name in simulators if name in set(_texts(settings))]
    if not record["fitted"]:
        return Roles(steers=named)
    steering = [name for name in named if name == settings.get("simulator")]
    others = [name for name in named if name not in steering]
    return Roles(steers=steering if states else [], trained_on=others or steering)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def score(inputs: ReportInputs, guide: str, benchmark: Benchmark) -> float:
    """What a guide is ranked by: the weighted sum of metrics that settings are chosen by, on test prompts."""
    judged = inputs.evaluation[guide][benchmark.selection.simulator]
    return sum(weight * judged[metric]["mean"] for metric, weight in benchmark.selection.on.items())


def ranked(inputs: ReportInputs, benchmark: Benchmark) -> tuple[list[str], list[str]]:
    """The guides by falling score, and those that steer by the main judge, likewise."""
    main = benchmark.selection.simulator
    in_order = sorted(inputs.evaluation, key=lambda guide: -score(inputs, guide, benchmark))
    steered = [guide for guide in in_order if main in benchmark.roles[guide].steers]
    return [guide for guide in in_order if guide not in steered], steered


def ranking(inputs: ReportInputs, benchmark: Benchmark) -> Table:
    """All guides under the main judge, the best first; those that steer by it below, without a rank."""
    main = benchmark.selection.simulator
    first, steered = ranked(inputs, benchmark)
    weights = " + ".join(f"{weight:g} {metric}" for metric, weight in benchmark.selection.on.items())
    with_times = ["ms per prompt"] if benchmark.milliseconds else []
    table = Table(
        f"Guides ranked by {main}, the main judge; score: {weights}",
        [
            "guide",
            "rank",
            "score",
            *(METRICS[metric].label for metric in SHOWN),
            "steered by",
            "trained on",
            "settings tried",
            "simulator states per prompt",
            *with_times,
        ],
    )
    for place, guide in enumerate([*first, *steered], start=1):
        judged, roles = inputs.evaluation[guide][main], benchmark.roles[guide]
        rank = str(place) if place <= len(first) else f"steered by {main}"
        table.rows.append(
            [
                guide,
                rank,
                number(score(inputs, guide, benchmark), 2),
                *(with_interval(judged[metric], decimals_of(metric)) for metric in SHOWN),
                ", ".join(roles.steers) or MISSING,
                ", ".join(roles.trained_on) or MISSING,
                str(tried(inputs, guide)),
                number(float(inputs.evaluation[guide].get(STATES, 0.0)), 0),
                *([number(benchmark.milliseconds.get(guide), 2)] if with_times else []),
            ]
        )
    return table


def tried(inputs: ReportInputs, guide: str) -> int:
    """How many settings of a guide were tried on validation prompts; one where its own were taken."""
    return max(1, len(inputs.guides[guide]["tried"])) if guide in inputs.guides else 1


def by_other_judges(inputs: ReportInputs, benchmark: Benchmark) -> list[Table]:
    """For each headline metric: every guide under every judge; `s` marks a judge that steers the guide, `t`
    one that it was trained on.
    """
    names = judges(inputs)
    first, steered = ranked(inputs, benchmark)
    tables = []
    for metric in headline():
        if not METRICS[metric].simulated:
            continue
        caption = f"{METRICS[metric].label}, by judge; (s): steers the guide, (t): it was trained on it"
        table = Table(caption, ["guide", *names])
        for guide in [*first, *steered]:
            cells = []
            for name in names:
                value = with_interval(inputs.evaluation[guide][name][metric], decimals_of(metric))
                cells.append(value + _marks(benchmark.roles[guide], name))
            table.rows.append([guide, *cells])
        tables.append(table)
    return tables


def _marks(roles: Roles, judge: str) -> str:
    marks = [mark for mark, names in (("s", roles.steers), ("t", roles.trained_on)) if judge in names]
    return f" ({', '.join(marks)})" if marks else ""


@dataclass(frozen=True)
class Difference:
    """`prorl` less another guide: mean and interval, and the p-value adjusted over guides."""

    mean: float
    low: float
    high: float
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is clear, else 0."""
        return 0 if self.p >= CLEAR or self.low <= 0 <= self.high else (1 if self.mean > 0 else -1)


def differences(inputs: ReportInputs, judge: str, metric: str) -> dict[str, Difference]:
    """{guide: `prorl` less it} of one metric under one judge; p-values adjusted over all guides (Holm)."""
    found = {
        guide: inputs.comparison[f"{OWN} - {guide}"][judge][metric]
        for guide in inputs.evaluation
        if guide != OWN
    }
    adjusted = holm({guide: value["p"] for guide, value in found.items()})
    return {
        guide: Difference(value["mean"], value["low"], value["high"], adjusted[guide])
        for guide, value in found.items()
    }


def against_own(inputs: ReportInputs, benchmark: Benchmark) -> list[Table]:
    """For each judge: `prorl` less every other guide in headline metrics, paired by prompt."""
    tables = []
    first, steered = ranked(inputs, benchmark)
    for judge in judges(inputs):
        columns = {metric: differences(inputs, judge, metric) for metric in headline()}
        caption = f"{OWN} less each guide, judged by {judge}: 95% interval over users, p by Holm over guides"
        table = Table(caption, ["guide", *(METRICS[metric].label for metric in columns)])
        for guide in [*first, *steered]:
            if guide == OWN:
                continue
            cells = [_difference(own[guide], decimals_of(metric)) for metric, own in columns.items()]
            table.rows.append([f"{guide}{_marks(benchmark.roles[guide], judge)}", *cells])
        tables.append(table)
    return tables


def _difference(value: Difference, decimals: int) -> str:
    mean, low, high = (f"{part:+.{decimals}f}" for part in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}] p {value.p:.3f}"


def lengths(inputs: ReportInputs, benchmark: Benchmark) -> list[Table]:
    """What the first items of every guide's greedy paths have reached, by their number, under the main
    judge.
    """
    main = benchmark.selection.simulator
    first, steered = ranked(inputs, benchmark)
    rows = {guide: inputs.lengths[guide][main] for guide in [*first, *steered]}
    longest = max((row["length"] for own in rows.values() for row in own), default=0)
    tables = []
    for metric in headline():
        caption = (
            f"{METRICS[metric].label}, of the first items of greedy paths that have so many, judged by {main}"
        )
        table = Table(caption, ["guide", *map(str, range(1, longest + 1))])
        for guide, own in rows.items():
            values = {row["length"]: row[metric] for row in own}
            table.rows.append(
                [guide, *(number(values.get(n), decimals_of(metric)) for n in range(1, longest + 1))]
            )
        tables.append(table)
    return tables
