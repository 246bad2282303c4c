"""The model card."""

import copy
from dataclasses import replace

import pytest

from prorl.bundle.card import Card, with_interval
from prorl.params import Params, read_params
from tests.bundle.made import catalogue_of
from tests.simulators.test_own import stage
from tools.stage_dependencies import ROOT


def value(mean, low=None, high=None):
    return {"mean": mean, "low": low, "high": high}


def gate(verdict, found):
    return {"asks": f"asks {verdict}", "value": found, "allowed": {"at least": 0.9}, "verdict": verdict}


GATES = {
    "one": gate("pass", value(0.95, 0.91, 0.99)),
    "two": gate("fail", value(0.5)),
    "three": gate("missing", None),
}
JUDGED = {"ioi": value(3.118, 2.975, 3.273), "rollout@10": {"ioi": value(4.0)}}
CARD = Card(
    name="prorl",
    dataset="films",
    n_parameters=2100608,
    n_items=1682,
    titles=('The "A"', "B", "C"),
    test={"SASRec": JUDGED, "GRU4Rec": JUDGED},
    start={"SASRec": {"ioi": value(2.849)}, "GRU4Rec": {"ioi": value(1.0)}},
    gate={"passed": False, "judge": "GRU4Rec", "gates": GATES},
    validated={
        "GRU4Rec": {"auc": {"acceptance": value(0.895, 0.883, 0.907)}, "calibration": {"temperature": 1.91}}
    },
    judge="GRU4Rec",
    trained_against=("SASRec",),
    split={"train": {"users": 734, "interactions": 76630}, "test": {"users": 92, "interactions": 7953}},
    prompts=1044,
    rules=catalogue_of().decoding,
    blocked=3,
    acceptances=(0.0, 0.5, 1.0),
    acceptance=0.5,
    history_length=10,
    changed="It was judged otherwise.",
    licence="Ask first.",
)


def test_figures_stand_beside_those_of_the_start_for_each_judge():
    text = CARD.text()
    assert text.startswith("---\nlibrary_name: prorl\n")
    assert "2,100,608 parameters" in text
    assert '["The \\"A\\"", "B"], target="C"' in text
    assert "1,044 prompts" in text
    assert "Judged by SASRec:" in text
    assert "Judged by GRU4Rec, the main judge:" in text
    assert "| metric | prorl | its start |" in text
    assert "| IoI, increment of interest | 3.118 [2.975, 3.273] | 2.849 |" in text
    assert "rollout" not in text


def test_a_gate_that_is_not_passed_is_told():
    text = CARD.text()
    assert "It **did not pass every gate**, judged by GRU4Rec:" in text
    assert "| asks pass | 0.950 [0.910, 0.990] | at least 0.9 | pass |" in text
    assert "| asks fail | 0.500 | at least 0.9 | fail |" in text
    assert "| asks missing | - | at least 0.9 | missing |" in text
    passed = {"passed": True, "judge": "GRU4Rec", "gates": {"one": GATES["one"]}}
    assert "It passed every gate, judged by GRU4Rec:" in replace(CARD, gate=passed).text()
    assert "No gates were judged for this policy." in replace(CARD, gate=None).text()


def test_what_it_rests_on_and_where_it_ends():
    text = CARD.text()
    assert "734 train users with 76,630 interactions, 92 test users with 7,953 interactions." in text
    assert "The judge SASRec had a part in its training." in text
    assert "The judge GRU4Rec had no part in its training; it tells" in text
    assert "an AUC of 0.895 [0.883, 0.907]." in text
    assert "divided by a temperature: 1.91 for GRU4Rec." in text
    assert "They were not calibrated." in replace(CARD, validated={}).text()
    assert "histories of 10 items" in text
    assert "no probability that a real user takes an\n  item" in text
    assert text.endswith("## Licence of the data\n\nAsk first.\n")


def test_the_rules_are_told():
    text = CARD.text()
    for line in (
        "- 2 to 4 items.",
        "- No path holds the same item twice.",
        "- No path holds an item of the history.",
        "- No path holds the target itself.",
        "- 3 items are blocked and in no path.",
        "- It can be told how much acceptance is to count: 0, 0.5, 1; 0.5 where nobody says.",
        "- It was judged otherwise.",
    ):
        assert f"{line}\n" in text
    plain = replace(CARD, acceptances=(), acceptance=None, blocked=0, changed="", start=None).text()
    assert "can be told" not in plain
    assert "blocked" not in plain
    assert "| metric | prorl |\n" in plain


def test_numbers():
    assert with_interval(value(1234.5), 1) == "1,234.5"
    assert with_interval(value(0.5, 0.4, 0.6), 2) == "0.50 [0.40, 0.60]"


@pytest.mark.parametrize(
    ("changes", "of_start", "of_tuned"),
    [
        ({}, ("SASRec",), ("SASRec",)),
        ({"reduce": {"simulator": "GRU4Rec"}}, ("GRU4Rec", "SASRec"), ("GRU4Rec", "SASRec")),
        ({"reduce": {"simulator": "GRU4Rec", "collaborative": 0}}, ("SASRec",), ("SASRec",)),
        (
            {"reduce": {"simulator": "GRU4Rec"}, "quantize": {"import": "codes.json"}},
            ("SASRec",),
            ("SASRec",),
        ),
        ({"finetune": {"simulator": "GRU4Rec"}}, ("SASRec",), ("SASRec", "GRU4Rec")),
        (
            {"finetune": {"simulator": "GRU4Rec", "init_from": "elsewhere"}, "reduce": {"collaborative": 0}},
            ("SASRec",),
            ("GRU4Rec",),
        ),
    ],
)
def test_a_card_names_the_simulators_behind_training_and_codes(changes, of_start, of_tuned):
    params = read_params(ROOT / "params.yaml")
    raw = copy.deepcopy(params.raw)
    for section, values in changes.items():
        raw[section] |= values
    params = Params(params.heads, raw, params.source)
    found = [stage("release").trained_against(params, "ml-100k", name) for name in ("pretrained", "prorl")]
    assert found == [of_start, of_tuned]
