"""Which prompts show their paths, and what is shown of each."""

import pandas as pd
import pytest

from prorl.config.report import Examples
from prorl.reports.examples import chosen, drawn, examples, percent
from tests.reports.test_tables import with_search
from tests.reports.written_inputs import BENCHMARK

IOI = pd.Series([0.5, 3.0, -1.0, 2.0, 1.0, 3.0, 0.0], index=[0, 1, 2, 3, 4, 5, 6])


def asked(**counts):
    return Examples(**{"best": 0, "median": 0, "worst": 0, "random": 0, **counts})


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"best": 2}, [1, 5]),
        ({"worst": 2}, [2, 6]),
        ({"median": 1}, [4]),
        ({"median": 3}, [3, 4, 0]),
        ({"best": 1, "worst": 1, "median": 1}, [1, 4, 2]),
        ({"best": 9}, [1, 5, 3, 4, 0, 6, 2]),
        ({}, []),
    ],
    ids=["best", "worst", "median", "around the median", "each", "more than there are", "none"],
)
def test_prompts_are_chosen_by_their_interest_and_the_first_of_those_that_are_level(counts, expected):
    assert [prompt for _, prompt in chosen(IOI, asked(**counts), seed=1)] == expected


def test_random_prompts_are_drawn_from_those_left_with_the_seed():
    found = list(chosen(IOI, asked(best=3, random=3), seed=1))
    assert [rule for rule, _ in found] == ["best"] * 3 + ["random"] * 3
    assert len({prompt for _, prompt in found}) == 6
    assert found == list(chosen(IOI[::-1], asked(best=3, random=3), seed=1))
    others = [tuple(chosen(IOI, asked(random=3), seed)) for seed in range(8)]
    assert len(set(others)) > 1


def test_an_example_holds_the_path_step_by_step_and_every_guides_path(inputs):
    (best,) = examples(inputs, asked(best=1), BENCHMARK, 0)
    assert (best.prompt, best.rule, best.target) == (2, "best", "Dune")
    assert [path.guide for path in best.paths] == ["prorl", "pretrained"]
    assert best.others == []
    assert best.paths[0].titles == ["Clue & <Co>", "Clue & <Co>"]
    assert best.paths[0].metrics == "IoI 1.000, IoR 10.0, CTR 0.250"
    assert best.steps.rows == [
        ["(nothing yet)", "40", "1.8%"],  # exp(-4)
        ["Clue & <Co>", "30", "3.0%"],  # exp(-3.5)
        ["Clue & <Co>", "20", "5.0%"],  # exp(-3)
    ]
    rank, probability = best.plots
    assert rank.spec["data"]["values"][:3] == [
        {"s": "prorl", "x": 0.0, "y": 40.0},
        {"s": "prorl", "x": 1.0, "y": 30.0},
        {"s": "prorl", "x": 2.0, "y": 20.0},
    ]
    assert probability.spec["data"]["values"][0]["y"] == pytest.approx(0.0183156, abs=1e-7)


def test_the_main_judge_judges_whichever_comes_first(inputs):
    ioi = inputs.greedy.ioi.where(
        inputs.greedy.simulator != BENCHMARK.selection.simulator, -inputs.greedy.prompt
    )
    inputs = inputs.__class__(**{**vars(inputs), "greedy": inputs.greedy.assign(ioi=ioi)})
    (best,) = examples(inputs, asked(best=1), BENCHMARK, 0)
    assert best.prompt == 0


def test_drawn_are_the_policy_its_start_and_the_best_of_the_others(inputs):
    assert drawn(inputs, BENCHMARK) == ["prorl", "pretrained"]
    assert drawn(with_search(inputs), BENCHMARK) == ["prorl", "pretrained", "search"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.5, "50.0%"), (0.0183, "1.8%"), (0.00234, "0.23%"), (4.9e-7, "0.000049%"), (0.0, "0%")],
)
def test_percentages_show_two_digits_however_small(share, text):
    assert percent(share) == text
