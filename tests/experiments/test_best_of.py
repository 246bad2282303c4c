"""The best of K sampled paths: rows beside the start, and where its curve is no longer the lower one."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from prorl.experiments.comparison import best_of_counts, compare
from prorl.experiments.pages import best_of_plots, markdown, write_page
from prorl.experiments.results import Result
from prorl.metrics.intervals import UserBootstrap
from tests.experiments.files import write

USERS = np.array([1, 1, 2, 3])
COUNTS = [1, 2, 4]
ROWS = {
    "first": {"label": "Start", "policy": "pretrained"},
    "sharp": {"label": "Sharp", "set": ["finetune.gamma=0.5"]},
    "better": {"label": "Better", "set": ["finetune.gamma=0.6"]},
}
BEST = {  # IoR of the best of each number of paths, the same for every prompt
    "pretrained": (1.0, 3.0, 5.0),
    "sharp": (3.0, 3.0, 3.0),
    "better": (3.0, 5.0, 5.5),
}


def counted(values, reference, is_lower_better=False):
    bootstrap = UserBootstrap.of_users(USERS, 200, 0)
    rows = [[np.full((2, 4), float(value)) for value in own] for own in (values, reference)]
    return best_of_counts(*rows, COUNTS, is_lower_better, bootstrap)


@pytest.mark.parametrize(
    ("values", "reference", "crossing"),
    [
        ((3, 3, 3), (1, 2, 5), 4),
        ((3, 3, 3), (1, 3, 5), 2),
        ((3, 3, 3), (3, 3, 3), 1),
        ((3, 4, 6), (1, 2, 5), None),
        ((3, 1, 6), (1, 2, 5), None),
        ((3, 1, 4), (4, 0, 5), 4),
    ],
    ids=["late", "equal is not below", "never below", "below all along", "below in the end", "twice"],
)
def test_the_crossing_is_the_number_from_which_on_the_reference_is_not_below(values, reference, crossing):
    assert counted(values, reference)["crossing"] == crossing
    negated = [[-value for value in own] for own in (values, reference)]
    assert counted(*negated, is_lower_better=True)["crossing"] == crossing


def test_values_and_paired_differences_stand_beside_each_number():
    found = counted((3, 3, 3), (1, 3, 5))
    assert [value["mean"] for value in found["values"]] == [3, 3, 3]
    assert [own["mean"] for own in found["differences"]] == [2, 0, -2]
    assert [own["clear"] for own in found["differences"]] == [True, False, True]
    values = [np.ones((2, 4))]
    alone = best_of_counts(values, None, [1], False, UserBootstrap.of_users(USERS, 200, 0))
    assert alone.keys() == {"counts", "values"}


@pytest.fixture
def comparison(tmp_path):
    experiment = write(tmp_path, rows=ROWS, best_of=COUNTS, metrics=["ior"], seeds=[1, 2])

    def result(row):
        files = DirFileSystem(tmp_path, LocalFileSystem())
        tables = []
        for policy in ("pretrained", "prorl"):
            best = BEST["pretrained" if policy == "pretrained" else row]
            columns = {f"rollout@{k}/ior": value for k, value in zip(COUNTS, best, strict=True)}
            table = pd.DataFrame({"prompt": range(4), "user": USERS, "target": 7, "ior": 2.0, **columns})
            tables.append(table.assign(policy=policy, simulator="SASRec"))
        return Result(row, pd.concat(tables), files, "")

    results = {row: {seed: result("sharp" if row == "first" else row) for seed in (1, 2)} for row in ROWS}
    return experiment, compare(experiment, results)


def test_the_page_shows_every_row_and_where_it_crosses(tmp_path, comparison):
    page = markdown(tmp_path, *comparison, "ml-100k", [1, 2], "abc")
    assert "| Best IoR of | 1 | 2 | 4 | Start not worse from |" in page
    assert "| Start | 1.0 | 3.0 | 5.0 |  |" in page
    assert "| Sharp | **3.0** | 3.0 | **3.0** | K = 2 |" in page
    assert "| Better | **3.0** | **5.0** | **5.5** | none up to 4 |" in page
    assert "![own.best-ior-SASRec](own.best-ior-SASRec.svg)" in page


def test_a_plot_stands_beside_the_page_with_a_line_for_each_row(tmp_path, comparison):
    write_page(tmp_path, *comparison, "ml-100k", [1, 2], "abc")
    stored = (tmp_path / "reports/experiments/ml-100k/own.best-ior-SASRec.svg").read_text(encoding="utf-8")
    assert stored == f"{best_of_plots(*comparison)['own.best-ior-SASRec.svg']}\n"
    plot = ElementTree.fromstring(stored)
    assert plot.get("width") == "480"
    texts = [text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Start", "Sharp", "Better", "1", "2", "4"} <= set(texts)
