"""Which metrics changed between two runs beyond noise.

Shape key: `p` prompts.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from prorl.cli.sides import Intervals, Side
from prorl.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RESAMPLES = 2000
PROMPT = ("prompt", "user", "target", "history")  # columns that say which prompt a row is of
NO_METRIC = (*PROMPT, "policy", "simulator", "path")


@dataclass(frozen=True)
class Change:
    """One metric of a guide by a judge (None where no judge has a say in it) in both runs.

    `difference` is b less a; low, high: its 95% interval, None where the results could not be paired;
    `changed`: that interval excludes 0, or else the intervals of a and b do not overlap; `better`: whether b
    is the better one, None where neither is.
    """

    guide: str
    judge: str | None
    metric: str
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    how: Literal["paired", "intervals"]
    changed: bool
    better: bool | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Changes:
    """All changes; `unpaired` says why some guides' results could not be paired, {guide: reason}; `alone`:
    the guides that one run alone has, {told: guides}.
    """

    rows: list[Change]
    unpaired: dict[str, str]
    alone: dict[str, list[str]]


def changes(a: Side, b: Side, guides: Collection[str] = (), judges: Collection[str] = ()) -> Changes:
    """Every metric that both runs have, of `guides` by `judges` (empty: of all).

    Prompt by prompt where both runs have the same prompts; else by their committed intervals. Raises
    `DataError` for a guide or judge that is not in both, and where nothing is.
    """
    both = _Both(a, b)
    _check("--guide", guides, both.guides)
    _check("--judge", judges, sorted({judge for guide in both.guides for judge in both.judges(guide)}))
    rows, unpaired = [], {}
    for guide in both.guides:
        if guides and guide not in guides:
            continue
        own = [judge for judge in both.judges(guide) if not judges or judge in judges]
        if (reason := both.why_unpaired(guide, own)) is not None:
            unpaired[guide] = reason
        for number, judge in enumerate(own):
            compared = both.paired(guide, judge) if reason is None else both.by_intervals(guide, judge)
            rows += [row for row in compared if row.judge is not None or number == 0]
    if not rows:
        raise DataError(f"{a.told} and {b.told}: no guide has been judged by the same judge in both")
    alone = {
        side.told: [guide for guide in own if guide not in both.guides]
        for side, own in zip((a, b), both.known, strict=True)
    }
    return Changes(rows, unpaired, {told: own for told, own in alone.items() if own})


def _check(option: str, wanted: Collection[str], there: list[str]) -> None:
    for name in wanted:
        if name not in there:
            raise DataError(f"{option}: got {name!r}, allowed: {', '.join(there)}, which both runs have")


class _Both:
    """Two runs, guide by guide."""

    def __init__(self, a: Side, b: Side):
        self.sides = (a, b)
        self.known = [list(intervals) for intervals in self.intervals]
        self.guides = [guide for guide in self.known[0] if guide in self.known[1]]

    @cached_property
    def intervals(self) -> list[Intervals]:
        """Those committed; where there are none, those of the results per prompt."""
        return [side.intervals or _of_prompts(side) for side in self.sides]

    def judges(self, guide: str) -> list[str]:
        """Those that judged `guide` in both runs."""
        own, other = (intervals[guide] for intervals in self.intervals)
        return [judge for judge in own if judge in other]

    def why_unpaired(self, guide: str, judges: list[str]) -> str | None:
        """Why the results of `guide` cannot be paired; None where they can."""
        for side in self.sides:
            if side.prompts is None:
                return f"{side.told} has no results per prompt at hand"
        for judge in judges:
            tables = [_rows(side, guide, judge) for side in self.sides]
            for side, table in zip(self.sides, tables, strict=True):
                if table.empty:
                    return f"{side.told} has no results per prompt of it by {judge}"
            shared = [name for name in PROMPT if all(name in table for table in tables)]
            told = [[tuple(map(_plain, row)) for row in t[shared].itertuples(index=False)] for t in tables]
            if told[0] != told[1]:
                return "it was judged on other prompts"
        return None

    def paired(self, guide: str, judge: str) -> Iterator[Change]:
        """Every metric of both, by the paired differences of their prompts."""
        from prorl.metrics.intervals import UserBootstrap

        a, b = (_rows(side, guide, judge) for side in self.sides)
        bootstrap = UserBootstrap.of_users(a.user.to_numpy(), RESAMPLES, 0)
        for metric in _metrics(a, b):
            values, others = a[metric].to_numpy(dtype=float), b[metric].to_numpy(dtype=float)
            found = bootstrap.mean(others - values)
            low, high = found["low"], found["high"]
            yield _change(
                (guide, judge, metric, values.mean(), others.mean()), low, high, "paired", low > 0 or high < 0
            )

    def by_intervals(self, guide: str, judge: str) -> Iterator[Change]:
        """Every metric of both, by whether their intervals overlap."""
        from prorl.metrics.registry import in_order

        a, b = (intervals[guide][judge] for intervals in self.intervals)
        for metric in in_order(name for name in a if name in b):
            own, other = a[metric], b[metric]
            apart = own["high"] < other["low"] or other["high"] < own["low"]
            yield _change((guide, judge, metric, own["mean"], other["mean"]), None, None, "intervals", apart)


def _change(
    what: "tuple[str, str, str, float | np.floating, float | np.floating]",
    low: float | None,
    high: float | None,
    how: Literal["paired", "intervals"],
    changed: bool,
) -> Change:
    from prorl.metrics.registry import METRICS

    guide, judge, name, a, b = what
    metric = METRICS.get(name.rpartition("/")[2])
    has_judge = metric is None or metric.simulated
    better = None
    if changed and metric is not None and metric.better is not None:
        better = bool((b > a) == (metric.better == "higher"))
    return Change(
        guide,
        judge if has_judge else None,
        name,
        float(a),
        float(b),
        float(b - a),
        low,
        high,
        how,
        bool(changed),
        better,
    )


def _rows(side: Side, guide: str, judge: str) -> "pd.DataFrame":
    """The rows of a guide by a judge in the order of prompts, without metrics that it lacks."""
    assert side.prompts is not None, "why_unpaired"
    rows = side.prompts
    own = rows.loc[(rows.policy == guide) & (rows.simulator == judge)]
    return own.dropna(axis="columns", how="all").sort_values("prompt")


def _metrics(*tables: "pd.DataFrame") -> list[str]:
    from prorl.metrics.registry import in_order

    first, *others = tables
    names = [name for name in first if name not in NO_METRIC and all(name in table for table in others)]
    return in_order(map(str, names))


def _of_prompts(side: Side) -> Intervals:
    """Intervals of a run's results per prompt."""
    from prorl.metrics.intervals import UserBootstrap

    if side.prompts is None:
        return {}
    for column in ("policy", "simulator", "prompt", "user"):
        if column not in side.prompts:
            raise DataError(f"{side.told}: column {column!r} is missing; found {list(side.prompts)}")
    found: Intervals = {}
    for guide, judge in side.prompts[["policy", "simulator"]].drop_duplicates().itertuples(index=False):
        rows = _rows(side, guide, judge)
        bootstrap = UserBootstrap.of_users(rows.user.to_numpy(), RESAMPLES, 0)
        found.setdefault(guide, {})[judge] = {
            metric: bootstrap.mean(rows[metric].to_numpy(dtype=float)) for metric in _metrics(rows)
        }
    return found


def _plain(value: Any) -> Any:
    """A cell that can be compared: a history is an array."""
    return tuple(value.tolist()) if hasattr(value, "tolist") and getattr(value, "ndim", 0) else value
