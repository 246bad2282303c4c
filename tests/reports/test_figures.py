"""Plots for a page."""

from xml.etree import ElementTree

import pytest

from prorl.reports.figures import bar_plot, interval_plot, line_plot, point_plot

LINES = {"prorl": [(0.85, 3.5), (0.9, 3.3)]}
PLOTS = {
    "lines": lambda title: line_plot(
        title, "step", {"train": ([1, 2, 3], [3.0, 2.0, 1.0]), "validation": ([1, 3], [3.0, 1.5])}
    ),
    "doubling": lambda title: line_plot(
        title, "K", {"start": ([1, 2, 4, 8], [1.0, 2.0, 2.5, 2.7])}, doubling=True
    ),
    "intervals": lambda title: interval_plot(
        title, ["SASRec", "GRU4Rec"], {"prorl": [(1.0, 0.5, 1.5), (2.0, 1.5, 2.5)]}
    ),
    "bars": lambda title: bar_plot(
        title, "items", range(3), {"prorl": [0.25, 0.75, 0.0], "pretrained": [0.5, 0.25, 0.25]}
    ),
    "points": lambda title: point_plot(
        title, "CTR", "IoI", {"prorl": (0.9, 3.3), "search": (0.88, 3.4)}, LINES
    ),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_the_same_numbers_give_the_same_bytes(plot):
    assert plot("Loss") == plot("Loss")


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_plot_is_one_svg_element_with_a_name_and_without_script_size_or_metadata(plot):
    svg = plot('Loss & "rate" < 1')
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'Loss & "rate" < 1'
    assert root.get("viewBox")
    assert root.get("width") is None
    assert not any(
        word in svg for word in ("<script", "<metadata", "<image", 'href="http', "<?xml", "<!DOCTYPE")
    )


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_text_and_axes_take_the_pages_colour_and_font(plot):
    svg = plot("Loss")
    assert 'fill: currentColor"' in svg
    assert "#010203" not in svg
    assert "font-family" not in svg


def test_plots_on_one_page_share_no_id():
    ids = [
        {element.get("id") for element in ElementTree.fromstring(PLOTS["lines"](title)).iter()} - {None}
        for title in ("one", "two")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_every_reference_of_a_plot_is_to_an_id_it_holds():
    for plot in PLOTS.values():
        svg = plot("Loss")
        root = ElementTree.fromstring(svg)
        ids = {element.get("id") for element in root.iter()}
        used = {element.get("{http://www.w3.org/1999/xlink}href", "#")[1:] for element in root.iter()} - {""}
        clipped = {element.get("clip-path", "url(#)")[5:-1] for element in root.iter()} - {""}
        assert used | clipped <= ids


def test_points_carry_their_names():
    plot = point_plot("Interest", "CTR", "IoI", {"prorl": (0.9, 3.3), "search": (0.88, 3.4)}, LINES)
    assert all(f">{name}<" in plot for name in ("prorl", "search", "CTR", "IoI"))
