"""What says whether figures can be believed and a policy released, as tables."""

import dataclasses

from prorl.reports import trust
from prorl.reports.page import render
from tests.reports.written_inputs import BENCHMARK, COMMANDS, NO_EXAMPLES


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_validation_has_a_column_for_each_simulator(inputs):
    table = trust.validation(inputs.validated)
    assert table.columns == ["", "GRU4Rec", "SASRec"]
    assert "1,200 places in the logs of 2 test users, after 10 items" in table.caption
    assert "20 items sampled beside each real one, 1.5 to 1 in calibration" in table.caption
    rows = rows_of(table)
    assert rows["Next item, mrr@10"] == ["0.2500 [0.0000, 0.5000]"] * 2
    assert rows["AUC of acceptance"] == ["0.875 [0.625, 1.125]"] * 2
    assert rows["AUC of popularity alone"][0].startswith("0.625")
    assert rows["Temperature"] == ["1.625"] * 2
    assert rows["Expected calibration error, before temperature"][0].startswith("0.375")
    assert rows["Expected calibration error, after temperature"][0].startswith("0.125")
    assert rows["Log loss, after temperature"][0].startswith("0.500")


def test_statistics_stand_where_there_are_continuations(inputs):
    rows = rows_of(trust.validation(inputs.validated))
    for name in ("Items that share an attribute with the one before", "Items shown before"):
        assert rows[f"{name}: real users"] == ["0.500 [0.250, 0.750]", "-"]
        assert rows[f"{name}: simulated users"] == ["0.750 [0.500, 1.000]", "-"]
        assert rows[f"{name}: KS distance of the two"] == ["0.250 [0.000, 0.500]", "-"]
        assert rows[f"{name}: KS distance of test users and validation users"] == ["0.062", "-"]


def test_reliability_is_drawn_before_and_after_beside_the_diagonal(inputs):
    first, second = trust.reliability(inputs.validated)
    assert [first.title, second.title] == [
        "Share of real items by acceptance, GRU4Rec",
        "Share of real items by acceptance, SASRec",
    ]
    rows = first.spec["data"]["values"]
    assert {"s": "before temperature", "x": 0.125, "y": 0.375} in rows
    assert {"s": "after temperature", "x": 0.875, "y": 0.875} in rows
    assert first.spec["layer"][0]["data"]["values"] == [{"x": 0, "y": 0}, {"x": 1, "y": 1}]


def test_every_gate_shows_value_bound_and_verdict_and_its_parts(inputs):
    table = trust.gates(inputs.gate)
    assert table.caption == "Gates of prorl, judged by GRU4Rec; the score is 1 IoI + 30 CTR"
    assert table.rows == [
        ["score less that of its start", "1.000 [0.750, 1.250]", "above 0", "pass"],
        ["of it IoI", "0.500 [0.250, 0.750]", "", ""],
        ["paths with one of 3 blocked items", "2", "at most 0", "fail"],
        ["least Kendall's tau", "-", "at least 0.5", "missing: one judge alone"],
    ]


def test_agreement_has_a_row_for_each_two_judges_and_each_ranking(inputs):
    table = trust.agreement(inputs.gate)
    assert table.rows == [
        ["GRU4Rec ~ SASRec, by IoI", "1", "-", "-"],
        ["GRU4Rec ~ SASRec, by score", "3", "0.500 [0.250, 0.750]", "0.750 [0.500, 1.000]"],
    ]


def test_the_page_says_whether_the_policy_passes(inputs):
    page = render(inputs, NO_EXAMPLES, BENCHMARK, 0, COMMANDS)
    assert "it does not pass every gate" in page
    assert "missing: one judge alone" in page
    assert "Simulators asked at 1,200 places" in page
    passing = dataclasses.replace(inputs, gate={**inputs.gate, "passed": True})
    assert "it passes every gate" in render(passing, NO_EXAMPLES, BENCHMARK, 0, COMMANDS)
