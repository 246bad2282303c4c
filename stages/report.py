"""Tables and plots of one data set as one HTML page, and its headline numbers: `python stages/report.py
<dataset>`.
"""

from prorl.config.report import Report
from prorl.files import atomic_file, write_json
from prorl.layout import Layout
from prorl.params import Params
from prorl.reports.inputs import read_inputs
from prorl.reports.page import render
from prorl.reports.summary import summary
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Write the page and the summary."""
    layout = Layout(dataset)
    inputs = read_inputs(layout, params.simulators)
    with atomic_file(layout.page) as temporary:
        temporary.write_text(render(inputs, params.section(Report, dataset)), encoding="utf-8")
    write_json(layout.metrics("summary"), summary(inputs, params.simulators))


if __name__ == "__main__":
    run_stage("report", body)
