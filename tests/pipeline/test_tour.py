"""The tour of docs/, from top to bottom on the results of a run."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pipeline.clones import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(TOUR, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_outputs_are_kept_whose_figures_another_run_would_change(notebook):
    nbformat.validate(notebook)
    assert code(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))


def test_the_tour_runs_from_top_to_bottom(pipeline, notebook):
    where = {"metadata": {"path": str(pipeline.clone.root / "docs")}}
    NotebookClient(notebook, timeout=120, resources=where).execute(env=pipeline.clone.environment)
    shown = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in shown if output.get("name") == "stderr"]
    printed = "".join(output.text for output in shown if output.output_type == "stream")
    assert "towards " in printed
    assert "search: " in printed
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert {"text/html", "image/svg+xml"} <= kinds
    assert pipeline.clone.run("git", "status", "--porcelain").stdout == "", "the tour writes nothing"
