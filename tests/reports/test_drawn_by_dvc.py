"""What `dvc plots` draws beside curves: rows that its templates know, and a page without a network."""

import json

from prorl.files import read_json
from prorl.params import read_yaml
from prorl.reports import drawn_by_dvc
from tools.stage_dependencies import DVC_FILE, ROOT

TEMPLATES = ROOT / ".dvc" / "plots"


def fields(value):
    """All names that a Vega-Lite template reads of a row."""
    if isinstance(value, dict):
        own = {value["field"]} if isinstance(value.get("field"), str) else set()
        return own.union(*map(fields, value.values()))
    return set().union(*map(fields, value)) if isinstance(value, list) else set()


def test_the_frontier_has_every_guide_and_what_those_reach_that_can_be_told(inputs):
    rows = drawn_by_dvc.frontier(inputs)
    assert rows[0] == {"judge": "GRU4Rec", "guide": "pretrained", "acceptance": None, "ctr": 0.5, "ioi": 1.0}
    told = [row for row in rows if row["acceptance"] is not None]
    assert told[:2] == [
        {"judge": "GRU4Rec", "guide": "prorl", "acceptance": 0.25, "ctr": 0.25, "ioi": 1.75},
        {"judge": "GRU4Rec", "guide": "prorl", "acceptance": 0.75, "ctr": 0.75, "ioi": 1.25},
    ]
    assert len(rows) == 2 * (2 + 2)


def test_calibration_has_a_row_for_each_judge_and_bin_before_and_after(inputs):
    rows = drawn_by_dvc.calibration(inputs)
    assert len(rows) == 2 * 2 * 2
    assert rows[0] == {"judge": "GRU4Rec", "temperature": "before", "acceptance": 0.125, "real": 0.375}


def test_templates_read_what_the_rows_hold(inputs):
    plots = [name for plot in read_yaml(DVC_FILE)["plots"] for name in plot.items()]
    for name, drawn in (("frontier", drawn_by_dvc.frontier), ("calibration", drawn_by_dvc.calibration)):
        (settings,) = [
            own for path, own in plots if own.get("template") == name and path.endswith(f"{name}.json")
        ]
        row = drawn(inputs)[0]
        assert {settings["x"], settings["y"]} <= row.keys()
        read = fields(read_json(TEMPLATES / f"{name}.json"))
        own = {field for field in read if not field.startswith("<DVC_METRIC_")} - {"rev", "both"}
        assert own <= row.keys()
        assert "<DVC_METRIC_DATA>" in json.dumps(read_json(TEMPLATES / f"{name}.json"))


def test_every_plot_of_the_first_data_set_has_a_title():
    for plot in read_yaml(DVC_FILE)["plots"]:
        ((_, settings),) = plot.items()
        assert settings["title"].endswith(", ${datasets[0]}")
