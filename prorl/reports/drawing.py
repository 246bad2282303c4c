"""Plots as SVG text, drawn by the same Vega as in a browser, and the scripts that draw them there.

Both come from an installed package; nothing is fetched. The same specification gives the same bytes.
"""

import copy
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert
from markupsafe import Markup, escape

from prorl.reports.plots import HOVER, Plot

# The letters of the first are as wide as those of the others, so that text fits wherever it is shown.
FONT = "Liberation Sans, Arimo, Helvetica, Arial, sans-serif"
CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        **dict.fromkeys(
            ("labelColor", "titleColor", "tickColor", "domainColor", "gridColor"), "currentColor"
        ),
        "gridOpacity": 0.13,
        "domainOpacity": 0.5,
        "tickOpacity": 0.5,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11.5,
        "labelLimit": 150,
    },
    "axisX": {"labelOverlap": True, "tickCount": 6},
    "axisY": {"tickCount": 5},
    "legend": {"labelColor": "currentColor", "labelFontSize": 11, "symbolOpacity": 1, "symbolType": "circle"},
    "title": {"color": "currentColor", "fontSize": 12, "anchor": "start"},
}
NEEDLESS = {  # in a picture: what is so anyway, shows nothing, or would be read out mark by mark
    r' (role|aria-[a-z]+|class|pointer-events|font-family)="[^"]*"': "",
    r' (opacity|stroke-width|fill-opacity|stroke-opacity)="1"': "",
    r'<path d=""[^>]*/>': "",
    r'<path d="M0,0h0v0h0Z"/>': "",
    r"<g></g>": "",
}
LICENCE = (
    "Vega, Vega-Lite, Vega-Embed and Vega-Tooltip, copyright University of Washington Interactive Data Lab "
    "and contributors, with D3 by Mike Bostock: BSD 3-Clause and ISC licences."
)


def svg(plot: Plot) -> Markup:
    """The plot as one `<svg>` element: as wide as its place, named by its title, without what only a pointer
    sees.
    """
    text = vl_convert.vegalite_to_svg({**still(plot), "config": CONFIG})
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (width|height|class|version|xmlns:xlink)="[^"]*"', "", opening)
    name = f'role="img" aria-label="{escape(plot.title)}" font-family="{FONT}"'
    for needless, instead in NEEDLESS.items():
        rest = re.sub(needless, instead, rest)
    # A tenth of a pixel is invisible.
    rest = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found.group(0)):.1f}".removesuffix(".0"), rest)
    return Markup(f"{opening.replace('<svg', f'<svg {name}', 1)}>{rest}")  # Vega has escaped the text in it  # nosec B704


def titled_svg(plot: Plot) -> Markup:
    """`svg` with its title within, for a file of its own."""
    return svg(Plot(plot.title, {**plot.spec, "title": plot.title}))


def still(plot: Plot) -> dict[str, Any]:
    """The specification without the layers for a pointer."""
    spec = copy.deepcopy(plot.spec)
    spec["layer"] = [layer for layer in spec["layer"] if layer.get("name") != HOVER]
    return spec


def as_json(value: Mapping[str, Any]) -> Markup:
    """`value` for a `<script>` element that holds data."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Markup(text)  # without `<` no element ends or begins  # nosec B704


@cache
def scripts() -> Markup:
    """What defines `vegaEmbed` in a page, for a `<script>` element, with the licence of what it is."""
    bundle = (
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )
    script = f"/* {LICENCE} */\n(() => {{\n{bundle}\n}})();"
    return Markup(script)  # a package's own script, nothing of a user's  # nosec B704
