"""Tables and plots of one data set as one HTML page: `python stages/report.py <dataset>`."""

from pathlib import Path

from prorl.config.report import Report
from prorl.files import atomic_file
from prorl.params import Params
from prorl.reports.inputs import read_inputs
from prorl.reports.page import render
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Write the page."""
    reports = Path("reports") / dataset
    inputs = read_inputs(
        dataset,
        reports,
        Path("data/evaluation") / dataset / "per_prompt.parquet",
        Path("data/prepared") / dataset / "items.parquet",
    )
    with atomic_file(reports / "index.html") as temporary:
        temporary.write_text(render(inputs, params.section(Report, dataset)), encoding="utf-8")


if __name__ == "__main__":
    run_stage("report", body)
