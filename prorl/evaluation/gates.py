"""Gates: what a policy must be before it is released, each passed or failed on the test prompts' results.

A gate looks at the worse end of its value's 95% interval over users, so that what the choice of users may
explain is not enough. One that lacks what it needs is `missing`, and is not passed.
"""

import operator
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from prorl.config.gate import Gate
from prorl.config.heads import POLICIES
from prorl.config.selection import Selection
from prorl.evaluation.agreement import FEWEST, agreement
from prorl.evaluation.results import Results
from prorl.metrics.intervals import UserBootstrap, interval

START, POLICY = POLICIES
# what is allowed -> which end of the interval is the worse, and how it is compared
BOUNDS = {"above": ("low", operator.gt), "at least": ("low", operator.ge), "at most": ("high", operator.le)}
RANKED = ("ioi", "ctr")  # what judges' agreement is also told of, beside the score
NEEDED = ("ioi", "ctr", "distinct", "repeats", "coherence")


def columns_read(settings: Gate, selection: Selection) -> tuple[list[str], list[str]]:
    """What gates look at of every prompt's results: metrics of the greedy path, and what need not be there,
    the best IoI of sampled paths.
    """
    return list(dict.fromkeys([*NEEDED, *selection.on])), [_best_of(settings)]


def _best_of(settings: Gate) -> str:
    return f"rollout@{settings.best_of}/ioi"


def score(values: Mapping[str, Any], on: Mapping[str, float]) -> Any:
    """The weighted sum of the metrics `on`, of values of one kind: arrays [p], or means."""
    return sum(weight * values[metric] for metric, weight in on.items())


def best_rival(
    validation: Mapping[str, Mapping[str, Any]],
    steered_by: Mapping[str, Collection[str]],
    selection: Selection,
    variants: Collection[str] = (),
) -> str | None:
    """The guide with the best score on validation prompts by the main judge, among those that are no policy
    of the pipeline and do not steer by that judge; None where there is none.

    validation: {guide: {simulator: {metric: {"mean", ..}}}}. variants: the guides that are a policy of the
    pipeline too, under other rules or told another acceptance.
    """
    scores = {
        guide: score(
            {metric: judged[selection.simulator][metric]["mean"] for metric in selection.on}, selection.on
        )
        for guide, judged in validation.items()
        if guide not in (*POLICIES, *variants) and selection.simulator not in steered_by.get(guide, ())
    }
    return max(scores, key=lambda guide: scores[guide]) if scores else None


def gated(
    results: Results,
    validation: Mapping[str, Mapping[str, Any]],
    steered_by: Mapping[str, Collection[str]],
    blocked: np.ndarray,
    settings: Gate,
    selection: Selection,
    variants: Collection[str] = (),
) -> dict[str, Any]:
    """Every gate of the policy with its value, what is allowed and its verdict, and the judges' agreement.

    steered_by: {guide: the simulators it steers by}; one that is not in it steers by none. blocked: the items
    that no path may hold. variants: no rivals, see `best_rival`.
    """
    bootstrap, judge = results.bootstrap, selection.simulator
    own, start = (results.of_guide(guide, judge) for guide in (POLICY, START))
    judges = {
        name: agreement(
            {
                simulator: {guide: _values(name, judged, selection) for guide, judged in guides.items()}
                for simulator, guides in results.metrics.items()
            },
            steered_by,
            bootstrap,
        )
        for name in ("score", *RANKED)
    }
    gates = {
        "personal": verdict(
            "paths are personal: distinct ones per prompt",
            bootstrap.mean(own["distinct"]),
            ("at least", settings.distinct),
        ),
        "not_narrower": _not_narrower(own, start, settings, bootstrap),
        "above_start": _above("its start", own, start, settings.above_start, selection, bootstrap),
        "above_rival": _above_rival(
            results,
            best_rival(validation, steered_by, selection, variants),
            own,
            settings.above_rival,
            selection,
        ),
        "ctr_kept": verdict(
            "share of the start's CTR that is lost",
            interval(
                1 - own["ctr"].mean() / start["ctr"].mean(),
                1 - bootstrap.means(own["ctr"]) / bootstrap.means(start["ctr"]),
            ),
            ("at most", settings.ctr_lost),
        ),
        "judges_agree": _judges_agree(judges["score"], settings),
        "repeats": verdict(
            "share of a path's items that it held before",
            bootstrap.mean(own["repeats"]),
            ("at most", settings.repeats),
        ),
        "coherence": verdict("coherence", bootstrap.mean(own["coherence"]), ("at least", settings.coherence)),
        "blocked": verdict(
            f"paths with one of {len(blocked)} blocked items",
            alone(sum(bool(np.isin(path, blocked).any()) for path in results.paths[POLICY])),
            ("at most", 0.0),
        ),
    }
    return {
        "policy": POLICY,
        "start": START,
        "judge": judge,
        "score": selection.on,
        "passed": all(gate["verdict"] == "pass" for gate in gates.values()),
        "gates": gates,
        "agreement": judges,
    }


def failed(found: Mapping[str, Any]) -> list[str]:
    """The gates of `gated` that are not passed, as text: name, value and what is allowed."""
    told = []
    for name, gate in found["gates"].items():
        if gate["verdict"] == "missing":
            told.append(f"{name}: missing: {gate['why']}")
        elif gate["verdict"] == "fail":
            value, (bound, allowed) = gate["value"], next(iter(gate["allowed"].items()))
            ends = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
            told.append(f"{name}: got {value['mean']:.3g}{ends}, allowed: {bound} {allowed:g}")
    return told


def verdict(
    asks: str, value: Mapping[str, float | None], allowed: tuple[str, float], **more: Any
) -> dict[str, Any]:
    """A gate that `asks` for a `value`, with an interval or without; `allowed`: one of `BOUNDS`, a number."""
    bound, threshold = allowed
    end, compare = BOUNDS[bound]
    worst = value["mean"] if value[end] is None else value[end]
    assert worst is not None
    passed = bool(compare(worst, threshold))
    return {
        "asks": asks,
        "value": value,
        "allowed": {bound: threshold},
        "verdict": "pass" if passed else "fail",
        **more,
    }


def missing(asks: str, allowed: tuple[str, float], why: str) -> dict[str, Any]:
    """A gate that has no value, and `why`."""
    return {"asks": asks, "value": None, "allowed": dict([allowed]), "verdict": "missing", "why": why}


def alone(value: float) -> dict[str, float | None]:
    """A value that has no interval."""
    return {"mean": value, "low": None, "high": None}


def _values(name: str, judged: Mapping[str, np.ndarray], selection: Selection) -> np.ndarray:
    return score(judged, selection.on) if name == "score" else judged[name]


def _not_narrower(
    own: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
    settings: Gate,
    bootstrap: UserBootstrap,
) -> dict[str, Any]:
    asks = f"best IoI of {settings.best_of} sampled paths, less that of the start"
    allowed, column = ("at least", -settings.best_of_lost), _best_of(settings)
    if column not in own or np.isnan(own[column]).any() or np.isnan(start[column]).any():
        return missing(
            asks, allowed, f"no results of {settings.best_of} sampled paths; see evaluate.rollouts"
        )
    return verdict(asks, bootstrap.mean(own[column] - start[column]), allowed)


def _above(
    whom: str,
    own: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    threshold: float,
    selection: Selection,
    bootstrap: UserBootstrap,
) -> dict[str, Any]:
    differences = {metric: own[metric] - other[metric] for metric in selection.on}
    return verdict(
        f"score less that of {whom}",
        bootstrap.mean(score(differences, selection.on)),
        ("above", threshold),
        parts={metric: bootstrap.mean(values) for metric, values in differences.items()},
    )


def _above_rival(
    results: Results,
    rival: str | None,
    own: Mapping[str, np.ndarray],
    threshold: float,
    selection: Selection,
) -> dict[str, Any]:
    if rival is None:
        why = (
            f"no guide but the policies and those that steer by {selection.simulator} was judged on "
            "validation prompts"
        )
        return missing("score less that of the best rival on validation", ("above", threshold), why)
    other = results.of_guide(rival, selection.simulator)
    whom = f"{rival}, the best rival on validation"
    return _above(whom, own, other, threshold, selection, results.bootstrap) | {"rival": rival}


def _judges_agree(pairs: Mapping[str, Mapping[str, Any]], settings: Gate) -> dict[str, Any]:
    asks, allowed = "least Kendall's tau of two judges' rankings by score", ("at least", settings.agreement)
    if not pairs:
        return missing(asks, allowed, "there is one judge alone")
    for pair, own in pairs.items():
        if own["kendall"] is None:
            why = f"{pair}: {len(own['guides'])} guides steer by neither, {FEWEST} are needed"
            return missing(asks, allowed, why)
    least = min(pairs, key=lambda pair: pairs[pair]["kendall"]["low"])
    return verdict(asks, dict(pairs[least]["kendall"]), allowed, judges=least)
