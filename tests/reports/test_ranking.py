"""Guides ranked, compared with `prorl`, and what is said of it in words."""

from dataclasses import replace

import pytest

from prorl.config.decoding import Decoding
from prorl.config.selection import Selection
from prorl.params import read_params
from prorl.reports.findings import findings
from prorl.reports.guides_page import document, page
from prorl.reports.page_plots import tried_plot
from prorl.reports.ranking import (
    Benchmark,
    Roles,
    against_own,
    by_other_judges,
    differences,
    lengths,
    ranked,
    ranking,
    roles_of,
    tried,
)
from tests.reports.test_tables import with_search
from tests.reports.written_inputs import BENCHMARK, read_all, write_guide
from tools.stage_dependencies import ROOT


@pytest.fixture
def found(inputs):
    """Two policies and a search that SASRec steers."""
    return with_search(inputs)


def steered_by_main():
    return replace(BENCHMARK, roles=BENCHMARK.roles | {"search": Roles(steers=["GRU4Rec"])})


def changed(found, pair, judge="GRU4Rec", **values):
    """`found` with other differences of a pair: {metric: (mean, low, high, p)}."""
    own = {
        name: dict(zip(("mean", "low", "high", "p"), value, strict=True)) for name, value in values.items()
    }
    of_pair = found.comparison[pair]
    comparison = found.comparison | {pair: of_pair | {judge: of_pair[judge] | own}}
    return replace(found, comparison=comparison)


def test_guides_stand_by_falling_score_under_the_main_judge(found):
    better = found.evaluation["search"]["GRU4Rec"] | {"ctr": {"mean": 0.6, "low": 0.5, "high": 0.7}}
    evaluation = found.evaluation | {"search": found.evaluation["search"] | {"GRU4Rec": better}}
    found = replace(found, evaluation=evaluation)
    assert ranked(found, BENCHMARK) == (["search", "prorl", "pretrained"], [])
    table = ranking(found, BENCHMARK)
    assert table.caption == "Guides ranked by GRU4Rec, the main judge; score: 1 ioi + 30 ctr"
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert [rows["search"][key] for key in ("rank", "score")] == ["1", "20.00"]  # 2 + 30 * 0.6
    assert rows["search"]["steered by"] == "SASRec"
    assert rows["search"]["simulator states per prompt"] == "4,321"
    assert rows["prorl"]["simulator states per prompt"] == "0"
    assert rows["prorl"]["trained on"] == "SASRec"
    assert "ms per prompt" not in table.columns


def test_a_guide_that_steers_by_the_main_judge_is_shown_without_a_rank(found):
    benchmark = steered_by_main()
    assert ranked(found, benchmark) == (["prorl", "pretrained"], ["search"])
    assert [row[:2] for row in ranking(found, benchmark).rows] == [
        ["prorl", "1"],
        ["pretrained", "2"],
        ["search", "steered by GRU4Rec"],
    ]
    assert any("search is steered by GRU4Rec: not ranked" in text for text in findings(found, benchmark))


def test_times_stand_beside_where_there_are_any(found):
    table = ranking(found, replace(BENCHMARK, milliseconds={"prorl": 2.345}))
    assert {row[0]: row[-1] for row in table.rows} == {"prorl": "2.35", "search": "-", "pretrained": "-"}


def test_roles_are_marked_under_every_judge(found):
    ioi, ior, ctr = by_other_judges(found, BENCHMARK)
    assert ioi.columns == ["guide", "GRU4Rec", "SASRec"]
    rows = {row[0]: row[1:] for row in ioi.rows}
    assert rows["search"] == ["2.000 [1.750, 2.250]", "2.000 [1.750, 2.250] (s)"]
    assert rows["prorl"][1].endswith(" (t)")
    assert "IoR" in ior.caption
    assert "CTR" in ctr.caption


def test_p_values_are_adjusted_over_guides(found):
    """Two guides with p 0.01 and 0.04: twice the smaller, then the larger."""
    found = changed(found, "prorl - search", ioi=(-1.0, -1.5, -0.5, 0.04))
    own = differences(found, "GRU4Rec", "ioi")
    assert (own["pretrained"].p, own["search"].p) == (pytest.approx(0.02), pytest.approx(0.04))
    assert (own["pretrained"].sign, own["search"].sign) == (1, -1)
    table = against_own(found, BENCHMARK)[0]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["search"]["IoI, increment of interest"] == "-1.000 [-1.500, -0.500] p 0.040"
    assert set(rows) == {"search", "pretrained"}


def test_findings_tell_who_beats_prorl_at_no_lower_acceptance_and_what_it_costs(found):
    ahead = changed(found, "prorl - search", ioi=(-1.0, -1.5, -0.5, 0.01), ctr=(0.01, -0.1, 0.2, 0.9))
    told = findings(ahead, BENCHMARK)
    assert (
        "Judged by GRU4Rec, search (+1.00, with 4,321 simulator states per prompt) has clearly more IoI than "
        "prorl at no clearly lower CTR." in told
    )
    assert "Judged by GRU4Rec, prorl has clearly more IoI than pretrained, at no clearly lower CTR." in told
    traded = changed(found, "prorl - search", ioi=(-1.0, -1.5, -0.5, 0.01), ctr=(0.1, 0.05, 0.2, 0.01))
    told = findings(traded, BENCHMARK)
    assert "Judged by GRU4Rec, search has clearly more IoI than prorl, at clearly lower CTR." in told
    nobody = (
        "Judged by GRU4Rec, no guide that it does not steer has clearly more IoI than prorl at no clearly"
    )
    assert any(text.startswith(nobody) for text in told)
    home = findings(ahead, steered_by_main())
    assert any(text.startswith("Judged by GRU4Rec, which also steers them, search (+1.00") for text in home)
    assert any(text.startswith(nobody) for text in home)


def test_a_difference_is_not_clear_where_its_adjusted_p_value_is_not(found):
    found = changed(found, "prorl - search", ioi=(-1.0, -1.5, -0.5, 0.06))
    assert differences(found, "GRU4Rec", "ioi")["search"].sign == 0
    assert not any("search (" in text for text in findings(found, BENCHMARK) if "GRU4Rec" in text)


def test_metrics_by_length_have_a_column_per_length(found):
    ioi, *_ = lengths(found, BENCHMARK)
    assert ioi.columns == ["guide", "1", "2"]
    assert ["prorl", "0.250", "0.500"] in ioi.rows


@pytest.mark.parametrize(
    ("record", "states", "roles"),
    [
        ({"fitted": False, "settings": {"simulator": "SASRec"}}, 3.0, Roles(["SASRec"], [])),
        (
            {"fitted": False, "settings": {"on": ["GRU4Rec", {"x": "SASRec"}]}},
            None,
            Roles(["SASRec", "GRU4Rec"]),
        ),
        ({"fitted": True, "settings": {"simulator": "SASRec"}}, None, Roles([], ["SASRec"])),
        ({"fitted": True, "settings": {"simulator": "SASRec"}}, 3.0, Roles(["SASRec"], ["SASRec"])),
        (
            {"fitted": True, "settings": {"simulator": "SASRec", "trained_on": "GRU4Rec"}},
            3.0,
            Roles(["SASRec"], ["GRU4Rec"]),
        ),
        ({"fitted": True, "settings": {"n": 3}}, None, Roles()),
    ],
)
def test_roles_follow_from_settings_training_and_cost(record, states, roles):
    assert roles_of(record, ["SASRec", "GRU4Rec"], states) == roles


@pytest.mark.parametrize(("beside", "expected"), [(None, ["SASRec"]), ("GRU4Rec", ["GRU4Rec", "SASRec"])])
def test_a_simulator_whose_vectors_are_behind_the_codes_counts_as_trained_on(inputs, beside, expected):
    params = read_params(ROOT / "params.yaml")
    told = replace(inputs, guides={}, quantize=inputs.quantize | {"beside_embeddings": beside})
    roles = Benchmark.of(params, told, params.section(Selection), params.section(Decoding)).roles
    assert roles["pretrained"].trained_on == roles["prorl"].trained_on == expected


def test_the_page_is_markdown_with_findings_and_tables_as_wide_as_their_heads(found, copied):
    settings = [{"settings": {"k": k}, "metrics": {"ctr": k / 9, "ioi": 1.0}, "score": k} for k in (5, 1)]
    write_guide(copied, "search", tried=settings)
    found = replace(found, guides=read_all(copied, guides=["search"]).guides)
    assert (tried(found, "search"), tried(found, "prorl")) == (2, 1)
    text = page(found, BENCHMARK)
    assert text.startswith("# Guides on ml-100k\n\nGreedy paths for 3 test prompts")
    assert "Settings of search were chosen among those tried on 3 validation prompts" in text
    assert "| **prorl** |" in text
    widths = [line.count(" | ") for line in text.splitlines() if line.startswith("|")]
    assert len(set(widths)) > 1
    for before, after in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if before.startswith("|") and after.startswith("|"):
            assert before.count("|") == after.count("|")
    assert page(found, BENCHMARK) == text
    assert "search" in {row["s"] for row in tried_plot(found, BENCHMARK).spec["data"]["values"]}


def test_the_page_tells_of_shortest_paths_of_their_own_and_of_users_who_refuse(found, copied):
    assert "at least" not in page(found, BENCHMARK)
    write_guide(copied, "search", settings={"simulator": "SASRec", "min_length": 10})
    refused = {metric: {"mean": 0.5, "low": 0.25, "high": 0.75} for metric in ("ioi", "ctr")}
    evaluation = {guide: dict(judged) for guide, judged in found.evaluation.items()}
    evaluation["prorl"]["SASRec"] = evaluation["prorl"]["SASRec"] | {"rejection": refused}
    own = replace(found, guides=read_all(copied, guides=["search"]).guides, evaluation=evaluation)
    text = page(own, BENCHMARK)
    assert "to 10 items. search's have at least 10. Means" in text
    caption = "## Greedy paths shown to users who refuse items, as SASRec accepts them"
    assert f"{caption}\n\n|  | IoI | CTR |" in text
    assert document(own) == document(found)


def test_the_document_has_every_guide_judge_and_greedy_metric(found):
    own = document(found)
    assert set(own) == {"pretrained", "prorl", "search"}
    assert set(own["search"]) == {"GRU4Rec", "SASRec"}
    assert own["search"]["SASRec"]["ioi"] == {"mean": 2.0, "low": 1.75, "high": 2.25}
    assert not any("@" in metric for metric in own["prorl"]["SASRec"])
