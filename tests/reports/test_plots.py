"""Plots as specifications."""

import pytest

from prorl.reports import drawing
from prorl.reports.channels import COLOURS
from prorl.reports.plots import HOVER, interval_plot, line_plot, point_plot, share_plot

LINES = {"prorl": [(0.85, 3.5), (0.9, 3.3)]}
PLOTS = {
    "lines": lambda title: line_plot(
        title, "step", {"train": ([1, 2, 3], [3.0, 2.0, 1.0]), "validation": ([1, 3], [3.0, 1.5])}
    ),
    "doubling": lambda title: line_plot(
        title, "K", {"start": ([1, 2, 4, 8], [1.0, 2.0, 2.5, 2.7])}, x_scale="doubling"
    ),
    "ranks": lambda title: line_plot(
        title, "items", {"prorl": ([0, 1, 2], [800.0, 40.0, 3.0])}, y_scale="ranks"
    ),
    "diagonal": lambda title: line_plot(title, "p", {"a": ([0.2, 0.6], [0.1, 0.7])}, diagonal=True),
    "intervals": lambda title: interval_plot(
        title, ["SASRec", "GRU4Rec"], {"prorl": [(1.0, 0.5, 1.5), (2.0, 1.5, 2.5)]}
    ),
    "shares": lambda title: share_plot(
        title, "items", range(3), {"prorl": [0.25, 0.75, 0.0], "pretrained": [0.5, 0.25, 0.25]}
    ),
    "points": lambda title: point_plot(
        title, "CTR", "IoI", {"prorl": (0.9, 3.3), "search": (0.88, 3.4)}, LINES
    ),
}


def layer(plot, mark):
    """The first layer of a plot with that mark."""
    return next(own for own in plot.spec["layer"] if own["mark"]["type"] == mark)


def test_each_value_of_a_line_is_a_row_to_six_digits():
    plot = line_plot("Loss", "step", {"train": ([1, 2], [1 / 3, 2e6 / 3])})
    assert plot.spec["data"]["values"] == [
        {"s": "train", "x": 1.0, "y": 0.333333},
        {"s": "train", "x": 2.0, "y": 666667.0},
    ]


def test_few_whole_numbers_have_a_tick_each_and_many_have_vegas():
    few = line_plot("Best", "K", {"a": ([1, 5, 10], [1.0, 2.0, 3.0])})
    assert layer(few, "line")["encoding"]["x"]["axis"] == {"values": [1.0, 5.0, 10.0], "format": "~f"}
    many = line_plot("Loss", "step", {"a": (range(40), range(40))})
    assert "axis" not in layer(many, "line")["encoding"]["x"]


def test_ranks_have_the_first_at_the_top_and_few_round_ticks():
    y = layer(PLOTS["ranks"]("Rank"), "line")["encoding"]["y"]
    assert y["scale"] == {"type": "log", "reverse": True, "domainMin": 1}
    assert y["axis"]["values"] == [1, 3, 10, 30, 100, 300, 1000, 3000]
    later = line_plot("Rank", "items", {"a": ([0, 1], [90.0, 40.0])}, y_scale="ranks")
    assert layer(later, "line")["encoding"]["y"]["axis"]["values"][0] == 1
    wide = line_plot("P", "items", {"a": ([0, 1], [1e-6, 0.5])}, y_scale="log", y_format="~p")
    assert layer(wide, "line")["encoding"]["y"]["axis"] == {
        "values": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
        "format": "~p",
    }


def test_series_of_one_colour_differ_in_dashes_or_shapes():
    names = [f"guide {i}" for i in range(len(COLOURS) + 1)]
    lines = line_plot("Loss", "step", {name: ([0, 1], [0.0, 1.0]) for name in names})
    encoding = layer(lines, "line")["encoding"]
    looks = [
        list(zip(*(encoding[channel]["scale"]["range"] for channel in ("color", "strokeDash")), strict=True))
    ]
    points = point_plot("P", "x", "y", {name: (i, i) for i, name in enumerate(names)}, {})
    encoding = layer(points, "point")["encoding"]
    looks.append(
        list(zip(*(encoding[channel]["scale"]["range"] for channel in ("color", "shape")), strict=True))
    )
    for own in looks:
        assert own[0][0] == own[-1][0]
        assert own[0][1] != own[-1][1]


def test_about_the_lines_alone_are_the_points_there_with_their_names():
    points = {"prorl": (0.9, 3.3), "near": (0.86, 3.5), "random": (0.4, 0.5)}
    plot = point_plot("P", "CTR", "IoI", points, LINES, near_lines=True)
    assert [row["s"] for row in plot.spec["data"]["values"]] == ["prorl", "near"]
    domain = layer(plot, "point")["encoding"]["x"]["scale"]["domain"]
    assert domain == [0.8375, 0.9125]  # a quarter of 0.05 on each side
    assert layer(plot, "text")["encoding"]["text"] == {"field": "s"}
    whole = point_plot("P", "CTR", "IoI", points, LINES)
    assert len(whole.spec["data"]["values"]) == 3


def test_a_share_that_is_none_is_no_square():
    rows = PLOTS["shares"]("Lengths").spec["data"]["values"]
    assert {"s": "prorl", "x": 1, "share": 0.75} in rows
    assert len(rows) == 5


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_picture_has_no_layer_for_a_pointer_and_the_specification_stays(plot):
    own = plot("Loss")
    still = drawing.still(own)
    assert HOVER not in [layer.get("name") for layer in still["layer"]]
    assert len(own.spec["layer"]) - len(still["layer"]) == sum(
        layer.get("name") == HOVER for layer in own.spec["layer"]
    )


def test_a_plot_of_many_names_is_higher_by_its_legend_and_keeps_its_own_height():
    few, many = (
        line_plot("Loss", "step", {f"guide {i}": ([0, 1], [0.0, 1.0]) for i in range(n)}) for n in (2, 40)
    )
    columns = layer(many, "line")["encoding"]["color"]["legend"]["columns"]
    assert many.spec["height"] - few.spec["height"] == 16 * (-(-40 // columns) - 1)
