"""Plots as SVG text for a page: no file, no script, the same bytes for the same numbers.

Lines of axes and all text take the page's own colour, so that one plot serves light and dark; the series'
colours are readable on both.
"""

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

SERIES_COLOURS = ("#3f86c6", "#dd7a2c", "#2f9e77", "#c25b9c", "#8a7bd1", "#a08a2f")
MOST_INSIDE = 8  # names that a plot has room for; a longer legend stands beside it, and the plot is larger
LINES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")  # what tells series of one colour apart
TITLE_WIDTH = 56  # characters of a line
PAGE_COLOUR = "#010203"  # stands for the page's text colour, which matplotlib cannot name
SETTINGS = {
    "svg.fonttype": "none",  # text stays text, in the reader's font
    "font.size": 9,
    "text.color": PAGE_COLOUR,
    "axes.labelcolor": PAGE_COLOUR,
    "axes.edgecolor": PAGE_COLOUR,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": PAGE_COLOUR,
    "ytick.color": PAGE_COLOUR,
    "grid.color": PAGE_COLOUR,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
}

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def line_plot(title: str, x_label: str, series: Series, *, doubling: bool = False) -> Markup:
    """One line for each named (x, y) of `series`; x that is `doubling` is spaced evenly."""

    def draw(axes: Axes) -> None:
        for index, (colour, (name, (x, y))) in enumerate(
            zip(_colours(len(series)), series.items(), strict=True)
        ):
            axes.plot(
                x,
                y,
                color=colour,
                label=name,
                linewidth=1.6,
                linestyle=_of_round(LINES, index),
                marker="." if len(x) < 40 else None,
                markersize=4,
            )
        axes.set_xlabel(x_label)
        if doubling:
            ticks = sorted({float(value) for x, _ in series.values() for value in x})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _legend(axes, series)

    return _svg(title, draw, len(series))


def interval_plot(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float, float]]]
) -> Markup:
    """For each named series and each of `groups` a (mean, low, high): a point and its interval, groups side
    by side.
    """

    def draw(axes: Axes) -> None:
        for position, (colour, (name, points)) in enumerate(
            zip(_colours(len(series)), series.items(), strict=True)
        ):
            apart = min(0.16, 0.8 / len(series))
            x = [group + apart * (position - (len(series) - 1) / 2) for group in range(len(groups))]
            means = [mean for mean, _, _ in points]
            spread = [[mean - low for mean, low, _ in points], [high - mean for mean, _, high in points]]
            axes.errorbar(
                x,
                means,
                yerr=spread,
                color=colour,
                label=name,
                fmt=_of_round(MARKERS, position),
                markersize=5 if len(series) <= MOST_INSIDE else 3,
                capsize=3 if len(series) <= MOST_INSIDE else 0,
                linewidth=1.4,
            )
        axes.set_xticks(range(len(groups)), groups)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        _legend(axes, series)

    return _svg(title, draw, len(series))


def point_plot(
    title: str,
    x_label: str,
    y_label: str,
    points: Mapping[str, tuple[float, float]],
    lines: Mapping[str, Sequence[tuple[float, float]]],
) -> Markup:
    """A point (x, y) for each name of `points`, with the name beside it, and through it the line of the same
    name, where there is one.
    """

    def draw(axes: Axes) -> None:
        few = len(points) <= MOST_INSIDE
        for index, (colour, (name, (x, y))) in enumerate(
            zip(_colours(len(points)), points.items(), strict=True)
        ):
            axes.plot([x], [y], _of_round(MARKERS, index), color=colour, markersize=6 if few else 4)
            size = 8 if few else 6
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 3), fontsize=size)
            if name in lines:
                axes.plot(*zip(*lines[name], strict=True), color=colour, linewidth=1.4, marker=".")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(0.2)

    return _svg(title, draw, len(points))


def bar_plot(
    title: str, x_label: str, positions: Sequence[int], series: Mapping[str, Sequence[float]]
) -> Markup:
    """For each named series a bar at each of `positions`, side by side."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(series)
        for index, (colour, (name, heights)) in enumerate(
            zip(_colours(len(series)), series.items(), strict=True)
        ):
            offset = width * (index - (len(series) - 1) / 2)
            axes.bar(
                [position + offset for position in positions], heights, width=width, color=colour, label=name
            )
        axes.set_xticks(positions)
        axes.set_xlabel(x_label)
        axes.grid(visible=False, axis="x")
        _legend(axes, series)

    return _svg(title, draw, len(series))


def _colours(n: int) -> list[str]:
    return [SERIES_COLOURS[index % len(SERIES_COLOURS)] for index in range(n)]


def _of_round(choices: Sequence[str], index: int) -> str:
    """The one of `choices` for the series `index`: the next for each round of the colours."""
    return choices[index // len(SERIES_COLOURS) % len(choices)]


def _legend(axes: Axes, series: Mapping) -> None:
    if len(series) > MOST_INSIDE:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=6)
    elif len(series) > 1:
        axes.legend()


def _svg(title: str, draw: Callable[[Axes], None], n_series: int = 1) -> Markup:
    """The figure that `draw` puts on empty axes; larger where it holds many series.

    Its title seeds the ids, which must differ between the plots of a page.
    """
    settings: Any = {**matplotlib.rcParamsDefault, **SETTINGS, "svg.hashsalt": title}
    with matplotlib.rc_context(settings):
        size = (4.4, 2.7) if n_series <= MOST_INSIDE else (6.4, max(3.9, 0.15 * n_series))
        figure = Figure(figsize=size)
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title(textwrap.fill(title, TITLE_WIDTH))
        stream = io.StringIO()
        figure.savefig(
            stream,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return Markup(_for_page(stream.getvalue(), title))  # matplotlib has escaped the text in it


def _for_page(svg: str, title: str) -> str:
    """The `<svg>` element alone: as wide as its place, in the page's colour and font, without metadata and
    ids nothing refers to.
    """
    svg = svg[svg.index("<svg") :]
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    opening = opening.replace("<svg", f'<svg role="img" aria-label="{label}"')
    referred = set(re.findall(r"#([\w.-]+)", rest))
    rest = re.sub(
        r' id="([\w.-]+)"', lambda found: found.group(0) if found.group(1) in referred else "", rest
    )
    rest = re.sub(r"<metadata>.*?</metadata>\s*", "", rest, flags=re.DOTALL)
    rest = re.sub(r"font-family: [^;\"]*;? ?", "", rest)
    # A hundredth of a point is invisible.
    rest = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found.group(0)):.2f}", rest)
    return f"{opening}>{rest}".replace(PAGE_COLOUR, "currentColor").strip()
