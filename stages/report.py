"""Tables and plots of one data set as one HTML page, the ranking of guides, what `dvc plots` draws beside
training curves, and headline numbers: `python stages/report.py <dataset>`.
"""

from prorl.config.decoding import Decoding
from prorl.config.report import Report
from prorl.config.selection import Selection
from prorl.files import atomic_file, write_json
from prorl.layout import Layout
from prorl.params import Params
from prorl.reports import drawn_by_dvc, guides_page, made_with
from prorl.reports.inputs import read_inputs
from prorl.reports.page import render
from prorl.reports.ranking import Benchmark
from prorl.reports.summary import summary
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Write the page, the ranking, the numbers that DVC draws, and the summary."""
    layout = Layout(dataset)
    inputs = read_inputs(layout, params.simulators, params.guides)
    about = Benchmark.of(params, inputs, params.section(Selection), params.section(Decoding))
    settings, commands = params.section(Report, dataset), made_with.commands(params.heads, dataset)
    with atomic_file(layout.page) as temporary:
        temporary.write_text(render(inputs, settings, about, params.seed, commands), encoding="utf-8")
    with atomic_file(layout.guides_page) as temporary:
        temporary.write_text(guides_page.page(inputs, about), encoding="utf-8")
    write_json(layout.metrics("plots/frontier"), drawn_by_dvc.frontier(inputs))
    write_json(layout.metrics("plots/calibration"), drawn_by_dvc.calibration(inputs))
    write_json(layout.metrics("guides"), guides_page.document(inputs))
    write_json(layout.metrics("summary"), summary(inputs, params.simulators))


if __name__ == "__main__":
    run_stage("report", body)
