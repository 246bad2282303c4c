"""Rows of numbers that `dvc plots` draws, beside the training curves: one mapping for each point."""

from typing import Any

from prorl.reports import tables
from prorl.reports.inputs import ReportInputs

Rows = list[dict[str, Any]]


def frontier(inputs: ReportInputs) -> Rows:
    """What every guide reaches under every judge, and with `acceptance` what each that can be told reaches
    where it is told that number.
    """
    rows: Rows = []
    for judge in tables.judges(inputs):
        for guide, judged in inputs.evaluation.items():
            means = {metric: judged[judge][metric]["mean"] for metric in ("ctr", "ioi")}
            rows.append({"judge": judge, "guide": guide, "acceptance": None, **means})
        for guide, told in inputs.frontier.items():
            for row in told:
                means = {metric: row[judge][metric] for metric in ("ctr", "ioi")}
                rows.append({"judge": judge, "guide": guide, "acceptance": row["acceptance"], **means})
    return rows


def calibration(inputs: ReportInputs) -> Rows:
    """For each judge and each bin of its acceptance the share of items that are real, before temperature and
    after.
    """
    return [
        {"judge": judge, "temperature": when, "acceptance": own["acceptance"], "real": own["real"]}
        for judge, found in inputs.validated.items()
        for when in ("before", "after")
        for own in found["calibration"][when]["bins"]
    ]
