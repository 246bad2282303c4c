"""Metrics as rows of text."""

import dataclasses
from dataclasses import replace

import pytest

from prorl.reports import tables
from prorl.reports.published import DIFFERENCES, NEAREST, PUBLISHED


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234, 3, "1,234"),
        (1234.5678, 2, "1,234.57"),
        (None, 3, "-"),
        ("lsa", 3, "lsa"),
        (True, 3, "True"),
        (-0.5, 3, "-0.500"),
    ],
)
def test_numbers_are_readable(value, decimals, text):
    assert tables.number(value, decimals) == text


def test_an_interval_is_shown_where_there_is_one():
    assert tables.with_interval({"mean": 2.0, "low": 1.5, "high": 2.5}, 1) == "2.0 [1.5, 2.5]"
    assert tables.with_interval({"mean": 2.0, "low": None, "high": None}, 1) == "2.0"


def test_results_have_a_row_per_guide_and_then_paired_differences_for_each_simulator(inputs):
    first, paired, second, _ = tables.results(inputs)
    assert [first.caption, second.caption] == [
        "Greedy paths, judged by GRU4Rec",
        "Greedy paths, judged by SASRec",
    ]
    values = [dict(zip(first.columns, row, strict=True)) for row in first.rows]
    assert [row[""] for row in values] == ["pretrained", "prorl"]
    interest = "IoI, increment of interest"
    assert [row[interest] for row in values] == ["1.000 [0.750, 1.250]", "2.000 [1.750, 2.250]"]
    assert [row["Distinct paths / prompts"] for row in values] == ["0.750", "0.750"]
    assert not any("@" in name for name in first.columns)
    assert paired.caption == "Differences prompt by prompt, judged by GRU4Rec"
    assert paired.columns[:2] == ["", interest]
    assert [row[:2] for row in paired.rows] == [["prorl - pretrained", "1.000 [0.750, 1.250]"]]


def test_users_who_refuse_items_have_a_table_for_each_judge_that_has_them(inputs):
    first, *_ = tables.judges(inputs)
    evaluation = {guide: dict(judged) for guide, judged in inputs.evaluation.items()}
    guide = next(iter(evaluation))
    refused = {metric: {"mean": 0.5, "low": 0.25, "high": 0.75} for metric in ("ioi", "ctr")}
    evaluation[guide][first] = evaluation[guide][first] | {"rejection": refused}
    *_, table = tables.other_ways(replace(inputs, evaluation=evaluation))
    assert table.caption == f"Greedy paths shown to users who refuse items, as {first} accepts them"
    assert table.columns == ["", "IoI", "CTR"]
    assert table.rows == [[guide, *["0.500 [0.250, 0.750]"] * 2]]


def test_other_ways_to_decode_grow_with_k(inputs):
    assert [table.caption for table in tables.other_ways(inputs)] == [
        "Best of K sampled paths, judged by GRU4Rec",
        "Best of K sampled paths, judged by SASRec",
        "Best of the K paths of a beam search, judged by SASRec",
        "Greedy paths towards targets at a percentile of the first simulator's ranking, judged by SASRec",
    ]
    table, beam, target = tables.other_ways(inputs)[1:]
    assert [row[0] for row in beam.rows] == ["prorl, K = 4"]
    assert [row[0] for row in target.rows] == ["prorl, percentile = 20", "prorl, percentile = 40"]
    assert [row[0] for row in table.rows] == [
        f"{policy}, K = {k}" for policy in ("pretrained", "prorl") for k in (1, 5, 10)
    ]
    assert table.rows[-1][1] == "3.000 [2.750, 3.250]"


def test_simulators_stand_beside_popularity(inputs):
    table = tables.simulators(inputs)
    assert [row[:2] for row in table.rows] == [
        ["GRU4Rec", "0.0400"],
        ["SASRec", "0.0400"],
        ["popularity", "0.0110"],
    ]


def test_data_and_training_tables_hold_every_row(inputs):
    counts, instances = tables.data(inputs)
    assert [row[0] for row in counts.rows] == ["raw", "users below minimum", "kept", "train users"]
    assert counts.rows[-1] == ["train users", "7", "-", "99"]
    assert ["test", "2"] in instances.rows
    metrics, centering = tables.training(inputs)
    assert metrics.rows[0] == ["IoI, increment of interest", "1.500", "1.500", "2.500"]
    assert centering.rows == [["IoI, increment of interest", "0.2500", "0.5000"]]
    assert ["level 1, used codes", "2"] in tables.semantic_ids(inputs).rows


def test_every_row_is_as_wide_as_its_table(inputs):
    for table in [
        *tables.results(inputs),
        *tables.other_ways(inputs),
        tables.simulators(inputs),
        *tables.data(inputs),
        *tables.training(inputs),
    ]:
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.caption


def test_published_figures_are_those_of_the_paper():
    table = tables.published("MovieLens-1M")
    assert table.rows[-1] == ["ProRL", "2.850", "728", "0.854", "0.842"]
    assert tables.published("Amazon-Book").rows[-1][2] == "1,383"
    assert set(NEAREST.values()) == set(PUBLISHED)
    assert {len(rows) for rows in PUBLISHED.values()} == {11}
    assert DIFFERENCES


def with_search(inputs):
    """The same with a guide that neither samples nor has beams, and says what its paths cost."""
    judged = {
        simulator: {metric: value for metric, value in own.items() if "@" not in metric}
        for simulator, own in inputs.evaluation["prorl"].items()
    }
    evaluation = inputs.evaluation | {"search": judged | {"states": 4321.25}}
    pair = {
        simulator: {metric: own[metric] | {"p": 0.01} for metric in ("ioi", "ior", "ctr", "coherence")}
        for simulator, own in judged.items()
    }
    comparison = inputs.comparison | {"search - pretrained": pair, "prorl - search": pair}
    lengths = inputs.lengths | {"search": inputs.lengths["prorl"]}
    validation = inputs.validation | {"search": judged}
    return dataclasses.replace(
        inputs, evaluation=evaluation, comparison=comparison, lengths=lengths, validation=validation
    )


def test_a_guide_that_writes_greedy_paths_alone_has_its_row_and_its_cost(inputs):
    found = with_search(inputs)
    assert tables.judges(found) == ["GRU4Rec", "SASRec"]
    table, paired, *_ = tables.results(found)
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("pretrained", "-"),
        ("prorl", "-"),
        ("search", "4,321.2"),
    ]
    assert table.columns[-1] == "Simulator states per prompt"
    assert table.rows[2][1] == "2.000 [1.750, 2.250]"
    assert [row[0] for row in paired.rows] == [
        *("prorl - pretrained", "search - pretrained", "prorl - search"),
    ]
    assert tables.other_ways(found) == tables.other_ways(inputs)


def test_a_first_guide_that_says_what_its_paths_cost_is_no_simulator(inputs):
    first = with_search(inputs).evaluation["search"]
    assert tables.judges(dataclasses.replace(inputs, evaluation={"search": first})) == ["GRU4Rec", "SASRec"]


def test_without_a_cost_there_is_no_column_of_costs(inputs):
    assert not any(column.startswith("Simulator states") for column in tables.results(inputs)[0].columns)
