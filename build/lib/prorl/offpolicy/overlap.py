"""Whether the logging policy could show what the target policy would: without that, no estimate is right.

Shape key: `n` requests, `s` rows (shown items), `t` path position.
"""

import numpy as np

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.offpolicy.log import Log

CERTAIN = 1 - 1e-6  # what policies in float32 give a choice that has no alternative
DEVIATIONS = 3.0  # of a mean from 1, in standard errors, that are no chance


def refuse_other_rules(log: Log, rules: Decoding, *, paths: bool) -> None:
    """Raise `DataError` where the target policy, which keeps `rules`, may show what the log's rules forbid,
    and for `paths` also where its paths may be longer.
    """
    for logged in log.rules:
        for rule in logged.forbid:
            if rule not in rules.forbid:
                raise DataError(
                    f"target policy: forbid: got {rules.forbid}, allowed: lists with {rule!r}, as in the "
                    "log's rules: of items that the log never shows, it says nothing"
                )
        if logged.constrained and not rules.constrained:
            raise DataError("target policy: constrained: got false, allowed: true, as in the log's rules")
        if paths and rules.max_length > logged.max_length:
            raise DataError(
                f"target policy: max_length: got {rules.max_length}, allowed: at most "
                f"{logged.max_length}, as in the log's rules"
            )


def refuse_where_certain(log: Log, probabilities: np.ndarray, chosen: np.ndarray) -> None:
    """Raise `DataError` for the first row at which the logging policy had one choice and the target policy,
    with `probabilities` [s], has others; of the rows [s] that are `chosen`.
    """
    wrong = chosen & (log.propensity >= CERTAIN) & (probabilities < CERTAIN)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{log.where(row)}: propensity {log.propensity[row]:.6g}, probability under the target policy "
            f"{probabilities[row]:.6g}, allowed: a logging policy that may show whatever the target policy "
            f"may; {wrong.sum()} of {len(wrong)} rows are so"
        )


def mean_ratio_warnings(
    ratios: np.ndarray, before: np.ndarray, counted: np.ndarray, user: np.ndarray
) -> list[str]:
    """What is wrong with the mean of the ratios [n, t], which is 1 at every position, given the weights
    `before` them [n, t], wherever every item that the target policy may show could be logged.

    Only what is `counted` [n, t] must have such a mean; `user` [n]. A mean that is lower tells of items that
    the logging policy never shows, or of weights so large and rare that the log lacks them.
    """
    _, group = np.unique(user, return_inverse=True)
    found = []
    for t in range(ratios.shape[1]):
        deviation = np.where(counted[:, t], before[:, t] * (ratios[:, t] - 1), 0.0)
        by_user = np.bincount(group, weights=deviation)
        error = np.sqrt((by_user**2).sum())
        if error > 0 and abs(by_user.sum()) > DEVIATIONS * error:
            mean = 1 + deviation.sum() / np.where(counted[:, t], before[:, t], 0.0).sum()
            cause = (
                "it has weight where the logging policy has little or none, or propensities are too high"
                if mean < 1
                else "propensities are too low"
            )
            found.append(
                f"position {t}: the target policy's ratio to the propensity averages {mean:.3f}, expected 1: "
                + cause
            )
    return found
