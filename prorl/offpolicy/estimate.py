"""Estimates from a log what a target policy would have earned.

Shape key: `n` requests, `s` rows (shown items), `t` path position.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.offpolicy.log import Log
from prorl.offpolicy.outcomes import ACCEPTED, LEFT, OUTCOMES, REFUSED, UNANSWERED
from prorl.offpolicy.overlap import mean_ratio_warnings, refuse_other_rules, refuse_where_certain
from prorl.offpolicy.paths import Values, cascade_doubly_robust, per_decision_ips, prefix_weights
from prorl.offpolicy.single import ips, snips
from prorl.offpolicy.slates import pi, pi_multiple, pi_single, wpi
from prorl.offpolicy.sums import Sums, bootstrap, jackknife

Interval = Literal["bootstrap", "normal"]
FEW = 50  # effective requests, below which an interval is not to be believed
REWARDS: Mapping[str, float] = {ACCEPTED: 1.0, REFUSED: 0.0, LEFT: 0.0, UNANSWERED: 0.0}
TOLERANCE = 1e-6  # of probabilities in float32 above 1


@dataclass(frozen=True)
class Kind:
    """An estimator: what a request is to it, and its sums from ratios and rewards [n, t] of the shown items,
    1 and 0 behind the end of a path; `needs_values` if also from `Values`.
    """

    request: Literal["item", "slate", "path"]
    sums: Callable[[np.ndarray, np.ndarray, Values | None], Sums]
    needs_values: bool = False


def _cascade(ratios: np.ndarray, rewards: np.ndarray, values: Values | None) -> Sums:
    assert values is not None, "needs_values"
    return cascade_doubly_robust(ratios, rewards, values)


ESTIMATORS: dict[str, Kind] = {
    "ips": Kind("item", lambda ratios, rewards, _: ips(ratios[:, 0], rewards[:, 0])),
    "snips": Kind("item", lambda ratios, rewards, _: snips(ratios[:, 0], rewards[:, 0])),
    "pi": Kind("slate", lambda ratios, rewards, _: pi(ratios, rewards.sum(1))),
    "wpi": Kind("slate", lambda ratios, rewards, _: wpi(ratios, rewards.sum(1))),
    "pi_single": Kind("slate", lambda ratios, rewards, _: pi_single(ratios, rewards.sum(1))),
    "pi_multiple": Kind("slate", lambda ratios, rewards, _: pi_multiple(ratios, rewards.sum(1))),
    "per_decision_ips": Kind("path", lambda ratios, rewards, _: per_decision_ips(ratios, rewards)),
    "cascade_doubly_robust": Kind("path", _cascade, needs_values=True),
}


@dataclass(frozen=True)
class Estimate:
    """What the target policy would have earned per request, and how far that can be believed.

    low, high: the 95% interval, None where it has no bound; `logged`: what the logging policy earned per
    request; n_effective: requests of equal weight that would tell as much, the fewest over the positions of a
    path; largest_weight: of a request or of a prefix of its path; `warnings`: a line each.
    """

    estimator: str
    value: float
    low: float | None
    high: float | None
    interval: Interval
    logged: float
    n_requests: int
    n_users: int
    n_effective: float
    largest_weight: float
    warnings: tuple[str, ...]


def estimate(
    log: Log,
    target_probabilities: Callable[[Log], np.ndarray],
    estimator: str,
    *,
    rewards: Mapping[str, float] = REWARDS,
    rules: Decoding | None = None,
    values: Callable[[Log], Values] | None = None,
    interval: Interval = "bootstrap",
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The expected reward of a request under a target policy, by one of `ESTIMATORS`.

    `target_probabilities(log)` gives the target policy's probability [s] of every item of the log, given
    history, target and the items before it; for slates, of the item in its slot. `rules`: those that the
    target policy keeps; None: those it has as an attribute `rules`, else the log's own. `rewards`: what each
    outcome is worth, `unanswered` 0 where it is not named; the reward of a slate is the sum over its slots.
    `values(log)`: what a model of rewards expects, for the doubly robust estimator. Intervals resample users
    `n_resamples` times with `seed`, or are `normal`: Student's t by the jackknife over users.

    Raises `ConfigError` for a name or an argument that is not allowed. Raises `DataError` where requests are
    not of the estimator's kind, where probabilities are none, where the target policy has weight but the
    logging policy has none, where there is no estimate, and for fewer than two users.
    """
    kind = _kind(estimator, values, interval, n_resamples)
    gains = _gains(rewards)
    _check_requests(log, estimator, kind)
    rules = getattr(target_probabilities, "rules", None) if rules is None else rules
    if rules is not None:
        refuse_other_rules(log, rules, paths=kind.request == "path")
    probabilities = _checked(log, target_probabilities(log))
    own_rules = log.rules if rules is None else (rules,)
    shortest = np.minimum(
        np.array([logged.min_length for logged in log.rules])[log.rule],
        min(own.min_length for own in own_rules),
    )
    if kind.request != "path":  # all positions are shown, and none is a choice to stop
        shortest = log.length
    never_stops = log.position < shortest[log.request]
    refuse_where_certain(log, probabilities, never_stops)
    ratios = log.by_position(probabilities / log.propensity, 1.0)
    earned = log.by_position(gains[log.outcome], 0.0)
    sums = kind.sums(ratios, earned, None if values is None else _checked_values(log, values(log)))
    if math.isnan(float(sums.value)):
        raise DataError(
            f"{estimator}: the weights of all requests sum to {sums.weights.sum():.4g}, allowed: above 0"
        )
    low, high = (
        bootstrap(sums, log.user, n_resamples, seed) if interval == "bootstrap" else jackknife(sums, log.user)
    )
    before = np.ones_like(ratios)
    if kind.request == "path":
        before[:, 1:] = prefix_weights(ratios)[:, :-1]
    counted = log.by_position(never_stops, False)
    warnings = mean_ratio_warnings(ratios, before, counted, log.user)
    n_effective = float(sums.n_effective)
    if n_effective < FEW:
        warnings.append(
            f"the weights leave {n_effective:.1f} effective requests of {len(log)}: below {FEW}, the "
            "interval is too narrow to be believed"
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        warnings.append("the interval has no bounds: without some users there is no estimate")
    return Estimate(
        estimator=estimator,
        value=float(sums.value),
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        interval=interval,
        logged=float(earned.sum() / len(log)),
        n_requests=len(log),
        n_users=len(np.unique(log.user)),
        n_effective=n_effective,
        largest_weight=float(sums.largest_weight),
        warnings=tuple(warnings),
    )


def _kind(estimator: str, values: object, interval: str, n_resamples: int) -> Kind:
    if estimator not in ESTIMATORS:
        raise ConfigError(f"estimator: got {estimator!r}, allowed: {', '.join(ESTIMATORS)}")
    kind = ESTIMATORS[estimator]
    if kind.needs_values != (values is not None):
        found, allowed = ("none", "a model's") if kind.needs_values else ("a model's", "none")
        raise ConfigError(f"values of {estimator}: got {found}, allowed: {allowed}")
    if interval not in ("bootstrap", "normal"):
        raise ConfigError(f"interval: got {interval!r}, allowed: bootstrap, normal")
    if n_resamples < 1:
        raise ConfigError(f"n_resamples: got {n_resamples}, allowed: 1 or more")
    return kind


def _gains(rewards: Mapping[str, float]) -> np.ndarray:
    """The reward of each outcome, in the order of `OUTCOMES`; no answer is worth 0 unless it is named."""
    known = {UNANSWERED: 0.0} | dict(rewards)
    if set(known) != set(OUTCOMES) or not all(math.isfinite(reward) for reward in known.values()):
        raise ConfigError(
            f"rewards: got {dict(rewards)}, allowed: a number for each of {', '.join(OUTCOMES)}"
        )
    return np.array([float(known[outcome]) for outcome in OUTCOMES])


def _check_requests(log: Log, estimator: str, kind: Kind) -> None:
    """Raise where requests are not what the estimator takes."""
    paths = "a path's estimators are per_decision_ips and cascade_doubly_robust"
    if kind.request == "path":
        return
    longest = 1 if kind.request == "item" else int(log.length[0])
    wrong = log.length != longest
    if wrong.any():
        number = int(np.argmax(wrong))
        allowed = "one item" if kind.request == "item" else f"as many as the first request, {longest}"
        raise DataError(
            f"{estimator}: {log.name(number)}: got {log.length[number]} items, allowed: {allowed}; {paths}"
        )
    if longest > 1:
        for rules in log.rules:
            if "repeats" in rules.forbid:
                raise DataError(
                    f"{estimator}: rules: forbid: got {rules.forbid}, allowed: lists without 'repeats', "
                    f"since slots must be filled independently of each other; {paths}"
                )
            if rules.min_length < longest:
                raise DataError(
                    f"{estimator}: rules: min_length: got {rules.min_length}, allowed: {longest}, since a "
                    f"slate's number of slots must not be drawn; {paths}"
                )


def _checked(log: Log, probabilities: np.ndarray) -> np.ndarray:
    """`probabilities` as float64, at most 1."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != log.item.shape:
        raise DataError(
            f"target policy: got probabilities of shape {probabilities.shape}, allowed: {log.item.shape}"
        )
    wrong = ~((probabilities >= 0) & (probabilities <= 1 + TOLERANCE))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"target policy: {log.where(row)}: got {probabilities[row]}, allowed: 0 to 1")
    return np.minimum(probabilities, 1.0)


def _checked_values(log: Log, values: Values) -> Values:
    n, t = log.paths.shape
    found = np.shape(values.logged), np.shape(values.expected)
    if found != ((n, t), (n, t + 1)):
        raise DataError(f"values: got arrays of shapes {found}, allowed: {((n, t), (n, t + 1))}")
    for name, array, inside in (
        ("logged", values.logged, log.paths > 0),
        ("expected", values.expected, log.acts),
    ):
        wrong = ~np.isfinite(array) | (~inside & (array != 0))
        if wrong.any():
            request, position = (int(place) for place in np.argwhere(wrong)[0])
            raise DataError(
                f"values: {name}: {log.name(request)}: position {position}: got "
                f"{array[request, position]}, allowed: numbers, and 0 where nothing was chosen"
            )
    return values
