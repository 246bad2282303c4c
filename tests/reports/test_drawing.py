"""Specifications drawn."""

import json
from xml.etree import ElementTree

import pytest

from prorl.reports import drawing
from tests.reports.test_plots import PLOTS


@pytest.fixture(scope="module")
def drawn():
    return {name: drawing.svg(plot('Loss & "rate" < 1')) for name, plot in PLOTS.items()}


def test_the_same_numbers_give_the_same_bytes(drawn):
    for name, plot in PLOTS.items():
        assert drawing.svg(plot('Loss & "rate" < 1')) == drawn[name]


def test_a_plot_is_one_svg_element_with_a_name_and_without_script_size_or_references(drawn):
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label") == 'Loss & "rate" < 1'
        assert root.get("viewBox")
        assert root.get("width") is None
        assert not any(word in svg for word in ("<script", "<image", "href", "url(", ' id="', "white"))


def test_text_takes_the_pages_colour_and_one_font(drawn):
    for svg in drawn.values():
        texts = list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
        assert texts
        assert {text.get("fill") for text in texts} == {"currentColor"}
        assert svg.count("font-family") == 1


def test_axes_and_legends_say_what_is_drawn(drawn):
    def texts(name):
        return [text.text for text in ElementTree.fromstring(drawn[name]).iter() if text.text]

    assert {"step", "train", "validation", "1", "2", "3"} <= set(texts("lines"))
    assert {"1", "2", "4", "8"} <= set(texts("doubling"))
    assert {"CTR", "IoI", "prorl", "search"} <= set(texts("points"))
    assert {"75%", "25%", "50%"} <= set(texts("shares"))


def test_a_plot_of_its_own_has_its_title_within():
    assert ">Best of K</text>" in drawing.titled_svg(PLOTS["lines"]("Best of K"))


def test_data_in_a_script_element_ends_no_element():
    text = drawing.as_json({"title": "</script><b>"})
    assert "<" not in text
    assert json.loads(text) == {"title": "</script><b>"}


def test_the_scripts_are_the_installed_ones_with_their_licence():
    scripts = drawing.scripts()
    assert scripts.startswith("/* Vega, Vega-Lite")
    assert "window.vegaEmbed=" in scripts
    assert "</script" not in scripts
