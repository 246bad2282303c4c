"""Gates passed and failed on small made-up results, and the stage that writes them."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from prorl.errors import DataError
from prorl.evaluation.gates import best_rival, failed, gated, verdict
from prorl.evaluation.results import Results, read_results
from prorl.files import read_json, write_json
from prorl.layout import Layout
from prorl.metrics.intervals import UserBootstrap
from prorl.params import laid_over, read_yaml
from prorl.presets import round_trip_yaml
from prorl.runtime import run_stage
from prorl.tables import ITEMS, write_table
from stages.gate import body, variants
from tests.evaluation.made_up_results import (
    JUDGE,
    N_PROMPTS,
    SELECTION,
    SETTINGS,
    STEERED_BY,
    rows_of,
    validation_of,
)
from tools.stage_dependencies import ROOT

NONE = np.array([], dtype=int)
GATES = [
    *("personal", "not_narrower", "above_start", "above_rival", "ctr_kept"),
    *("judges_agree", "repeats", "coherence", "blocked"),
]


def gates_of(changes=None, *, validation=None, steered_by=STEERED_BY, blocked=NONE, settings=SETTINGS):
    results = Results.of(rows_of(changes), 200, seed=1)
    return gated(results, validation or validation_of(), steered_by, blocked, settings, SELECTION)


def only_failing(found):
    """The one gate that is not passed."""
    (name,) = [name for name, gate in found["gates"].items() if gate["verdict"] != "pass"]
    assert not found["passed"]
    return name


def test_a_policy_that_is_better_in_everything_passes_every_gate():
    found = gates_of()
    assert list(found["gates"]) == GATES
    assert {gate["verdict"] for gate in found["gates"].values()} == {"pass"}
    assert found["passed"]
    assert failed(found) == []
    assert (found["policy"], found["start"], found["judge"]) == ("prorl", "pretrained", JUDGE)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("personal", {("prorl", "distinct"): -0.2}),
        ("not_narrower", {("prorl", "rollout@10/ioi"): -1.2}),
        ("above_start", {("pretrained", "ioi"): 1.2}),
        ("above_rival", {("search", "ioi"): 1.0}),
        ("ctr_kept", {("prorl", "ctr"): -0.03}),
        ("repeats", {("prorl", "repeats"): lambda n: (n == 5) / 4}),
        ("coherence", {("prorl", "coherence"): -0.11}),
    ],
)
def test_each_gate_fails_by_itself(gate, changes):
    """All else stays as it was: no other gate fails."""
    found = gates_of(changes)
    assert only_failing(found) == gate
    (told,) = failed(found)
    assert told.startswith(f"{gate}: got ")


def test_the_worse_end_of_the_interval_decides():
    """A mean that is allowed is not enough where the choice of users may explain it."""
    for gate, changes in (
        ("above_start", {("prorl", "ioi"): lambda n: np.where(n // 2 % 2, -3.4, 2.2) - 0.4}),
        ("ctr_kept", {("prorl", "ctr"): lambda n: np.where(n // 2 % 2, -0.2, 0.17)}),
    ):
        found = gates_of(changes)["gates"][gate]
        (bound, threshold) = next(iter(found["allowed"].items()))
        mean = found["value"]["mean"]
        assert mean > threshold if bound == "above" else mean <= threshold
        assert found["verdict"] == "fail"


def test_differences_are_paired_by_prompt():
    """Results that differ widely between users, and alike in both guides, differ by a certain amount."""
    wide = {(guide, "ioi"): lambda n: 50.0 * (n // 2) for guide in ("pretrained", "prorl")}
    found = gates_of(wide)["gates"]["above_start"]
    expected = 1.0 + 10 * 0.01
    assert [found["value"][end] for end in ("low", "mean", "high")] == pytest.approx([expected] * 3)
    assert found["parts"]["ioi"]["mean"] == pytest.approx(1.0)
    assert found["parts"]["ctr"]["mean"] == pytest.approx(0.01)


def test_intervals_are_those_of_the_evaluation():
    rows = rows_of({("prorl", "distinct"): lambda n: -(n % 3) / 10})
    found = gated(Results.of(rows, 200, seed=1), validation_of(), STEERED_BY, NONE, SETTINGS, SELECTION)
    own = rows[(rows.policy == "prorl") & (rows.simulator == JUDGE)]
    bootstrap = UserBootstrap.of_users(own.user.to_numpy(), 200, 1)
    assert found["gates"]["personal"]["value"] == bootstrap.mean(own.distinct.to_numpy())


@pytest.mark.parametrize(
    ("bound", "worse", "passed"),
    [
        ("above", 1.0, False),
        ("above", 1.01, True),
        ("at least", 1.0, True),
        ("at least", 0.99, False),
        ("at most", 1.0, True),
        ("at most", 1.01, False),
    ],
)
def test_bounds(bound, worse, passed):
    far = {"at most": -9.0}.get(bound, 9.0)
    value = {"mean": far, "low": far, "high": far} | {"high" if bound == "at most" else "low": worse}
    assert (verdict("x", value, (bound, 1.0))["verdict"] == "pass") is passed
    alone = {"mean": worse, "low": None, "high": None}
    assert (verdict("x", alone, (bound, 1.0))["verdict"] == "pass") is passed


def test_the_rival_is_chosen_on_validation_and_does_not_steer_by_the_judge():
    assert best_rival(validation_of(), STEERED_BY, SELECTION) == "search"
    assert best_rival(validation_of({"popular": {"ioi": 4.0}}), STEERED_BY, SELECTION) == "popular"
    assert best_rival(validation_of(), {}, SELECTION) == "steered"
    # Of greater weight is the acceptance: 10 * .12 is more than what it lacks of interest.
    assert best_rival(validation_of({"search": {"ctr": 0.60}}), STEERED_BY, SELECTION) == "popular"
    policies = {name: own for name, own in validation_of().items() if name in ("pretrained", "prorl")}
    assert best_rival(policies, {}, SELECTION) is None


def test_a_policy_of_the_pipeline_under_other_rules_is_no_rival():
    validation = validation_of() | {"prorl_10": validation_of({"prorl": {"ioi": 9.0}})["prorl"]}
    assert best_rival(validation, STEERED_BY, SELECTION) == "prorl_10"
    assert best_rival(validation, STEERED_BY, SELECTION, ["prorl_10"]) == "search"
    found = gated(
        Results.of(rows_of(), 200, 1), validation, STEERED_BY, NONE, SETTINGS, SELECTION, ["prorl_10"]
    )
    assert found["gates"]["above_rival"]["rival"] == "search"


def test_variants_are_told_by_their_folder():
    guides = {
        "prorl_10": {"kind": "policy", "path": "models/policies/tiny/prorl", "min_length": 10},
        "start_10": {"kind": "policy", "path": "models/policies/tiny/pretrained/"},
        "somebodys": {"kind": "policy", "path": "elsewhere/prorl"},
        "policy": {"path": "models/policies/other/prorl"},
        "search": {"simulator": "SASRec"},
    }
    assert variants(guides, Layout("tiny")) == ["prorl_10", "start_10"]


def test_the_rival_on_validation_counts_even_where_another_is_better_on_test():
    changes = {("search", "ioi"): 9.0, ("popular", "ioi"): 0.1}
    found = gates_of(changes, validation=validation_of({"popular": {"ioi": 4.0}}))["gates"]["above_rival"]
    assert (found["rival"], found["verdict"]) == ("popular", "pass")


def test_without_a_rival_the_gate_is_missing_and_not_passed():
    validation = {"pretrained": validation_of()["pretrained"], "steered": validation_of()["steered"]}
    found = gates_of(validation=validation)
    assert only_failing(found) == "above_rival"
    assert failed(found) == [
        "above_rival: missing: no guide but the policies and those that steer by GRU4Rec was judged on "
        "validation prompts"
    ]


def test_without_the_sampled_paths_best_of_is_missing_and_not_passed():
    found = gates_of(settings=SETTINGS.replace(best_of=7))
    assert only_failing(found) == "not_narrower"
    assert found["gates"]["not_narrower"]["value"] is None
    assert failed(found) == ["not_narrower: missing: no results of 7 sampled paths; see evaluate.rollouts"]
    unsampled = gates_of({("pretrained", "rollout@10/ioi"): np.nan})
    assert only_failing(unsampled) == "not_narrower"


def test_judges_who_rank_otherwise_fail_and_too_few_guides_are_missing():
    rows = rows_of()
    home = rows.simulator != JUDGE
    rows.loc[home, ["ioi", "ctr"]] *= -1.0  # the other judge ranks all the other way round
    found = gated(Results.of(rows, 200, 1), validation_of(), {"steered": [JUDGE]}, NONE, SETTINGS, SELECTION)
    assert only_failing(found) == "judges_agree"
    assert found["gates"]["judges_agree"]["judges"] == "SASRec ~ GRU4Rec"
    assert found["gates"]["judges_agree"]["value"]["mean"] == -1.0
    assert found["agreement"]["ioi"]["SASRec ~ GRU4Rec"]["kendall"]["mean"] == -1.0

    few = gates_of(steered_by=STEERED_BY | {"popular": [JUDGE]})
    assert only_failing(few) == "judges_agree"
    assert "2 guides steer by neither, 3 are needed" in failed(few)[0]

    alone = rows_of()
    alone = pd.DataFrame(alone[alone.simulator == JUDGE])
    found = gated(Results.of(alone, 200, 1), validation_of(), STEERED_BY, NONE, SETTINGS, SELECTION)
    assert failed(found) == ["judges_agree: missing: there is one judge alone"]


def test_paths_with_a_blocked_item_are_counted():
    paths = [[1, 2], [7, 3], [4, 9]] + [[5, 6]] * (N_PROMPTS - 3)
    found = gates_of({("prorl", "path"): paths}, blocked=np.array([7, 9]))
    assert only_failing(found) == "blocked"
    assert found["gates"]["blocked"]["value"]["mean"] == 2
    assert gates_of({("prorl", "path"): paths}, blocked=np.array([8]))["passed"]
    others = [[99, 1]] * N_PROMPTS
    assert gates_of({("popular", "path"): others}, blocked=np.array([99]))["passed"], "of the policy alone"


def test_guides_judged_on_different_prompts_are_refused():
    rows = rows_of()
    with pytest.raises(DataError, match="guide steered, judged by GRU4Rec: other prompts than the first"):
        Results.of(rows.iloc[:-1], 100, 1)
    with pytest.raises(DataError, match="no prompt has a result"):
        Results.of(rows.iloc[:0], 100, 1)


def test_the_order_of_rows_does_not_matter():
    rows = rows_of({("prorl", "ioi"): lambda n: n / 10})
    shuffled = rows.sample(frac=1, random_state=1).sort_values(["policy", "simulator"], kind="stable")
    rows = rows.sort_values(["policy", "simulator"], kind="stable")
    assert shuffled.prompt.tolist() != rows.prompt.tolist()
    first, second = (
        gated(Results.of(own, 200, 1), validation_of(), STEERED_BY, NONE, SETTINGS, SELECTION)
        for own in (rows, shuffled)
    )
    assert first == second


def test_a_guide_or_a_judge_without_results_is_named():
    results = Results.of(rows_of(), 100, 1)
    with pytest.raises(DataError, match="no result of guide beam, judged by GRU4Rec"):
        results.of_guide("beam", JUDGE)
    with pytest.raises(DataError, match="no result of guide prorl, judged by LightSANs"):
        results.of_guide("prorl", "LightSANs")


def test_a_table_without_a_metric_is_named_and_one_without_sampled_paths_is_not(tmp_path):
    path = tmp_path / "per_prompt.parquet"
    rows_of().drop(columns=["rollout@10/ioi"]).to_parquet(path)
    read = read_results(path, ["ioi", "ctr"], ["rollout@10/ioi"], 100, 1)
    assert set(read.of_guide("prorl", JUDGE)) == {"ioi", "ctr"}
    with pytest.raises(DataError, match=r"per_prompt\.parquet: column 'diversity' is missing"):
        read_results(path, ["diversity"], [], 100, 1)
    with pytest.raises(DataError, match=r"other\.parquet: not readable as parquet"):
        read_results(tmp_path / "other.parquet", ["ioi"], [], 100, 1)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes all that the stage reads, runs it, and gives what it printed last."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gate.py", "ml-100k"])

    def run(changes=None, **settings):
        raw = read_yaml(ROOT / "params.yaml")
        own = {name: getattr(SETTINGS, name) for name in type(SETTINGS).model_fields}
        guides = {
            name: {"kind": "search"} | ({"simulator": by[0]} if by else {}) for name, by in STEERED_BY.items()
        }
        raw = laid_over(raw, {"guides": list(STEERED_BY), "guide": guides, "gate": own | settings})
        raw["selection"] |= {"simulator": JUDGE, "on": SELECTION.on}
        round_trip_yaml().dump(raw, tmp_path / "params.yaml")
        layout = Layout("ml-100k")
        layout.per_prompt.parent.mkdir(parents=True, exist_ok=True)
        rows_of(changes).to_parquet(layout.per_prompt)
        write_json(layout.metrics("validation"), validation_of())
        items = [
            {"item": i, "raw_id": f"r{i}", "title": "", "attributes": [], "text": ""} for i in range(1, 40)
        ]
        write_table(layout.items, pd.DataFrame(items), ITEMS)
        run_stage("gate", body)
        return read_json(layout.metrics("gate"))

    return run


def test_the_stage_writes_every_gate(written, capsys):
    assert written()["passed"]
    assert capsys.readouterr().out == ""


def test_the_stage_says_what_is_not_passed_and_fails_only_where_it_is_strict(written, capsys):
    low = {("prorl", "coherence"): -0.11}
    found = written(low)
    assert not found["passed"]
    told = capsys.readouterr().out
    assert told.startswith("gate@ml-100k: prorl does not pass 1 of 9 gates: coherence: got 0.79 [")
    assert told.endswith("], allowed: at least 0.8\n")
    with pytest.raises(SystemExit) as stopped:
        written(low, strict=True)
    message = (
        "gate@ml-100k: reports/ml-100k/gate.json: gate.strict: prorl does not pass 1 of 9 gates: coherence"
    )
    assert str(stopped.value).startswith(message)
    assert read_json(Layout("ml-100k").metrics("gate")) == found, "written before it fails"


def test_a_strict_stage_does_not_fail_where_all_is_passed(written):
    assert written(strict=True)["passed"]


def test_a_missing_value_fails_a_strict_stage_too(written):
    with pytest.raises(SystemExit, match="not_narrower: missing: no results of 3 sampled paths"):
        written(strict=True, best_of=3)
