"""Plots as Vega-Lite specifications: what a reader's browser draws, and what stands in the page until it has.

All text and lines that are not a series' take the page's own colour, so that one plot serves light, dark and
print. A layer called `HOVER` answers the pointer alone, and is left out where nothing can point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prorl.reports.channels import (
    COLOURS,
    WIDTH,
    Scale,
    Spec,
    about,
    axis,
    colour,
    legend,
    legend_height,
    legend_param,
    picked,
    short,
    tip,
)

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]

HEIGHT = 230  # of a plot, without its legend
ROW = 19  # height of one of many names below each other
HOVER = "hover"
DASHES = ([1, 0], [6, 3], [2, 3])  # what tells series of one colour apart
SHAPES = ("circle", "square", "triangle-up", "diamond")


@dataclass(frozen=True)
class Plot:
    """A specification without its title, which stands above it as text."""

    title: str
    spec: Spec


def line_plot(
    title: str,
    x_label: str,
    series: Series,
    *,
    y_label: str = "",
    x_scale: Scale = "linear",
    y_scale: Scale = "linear",
    y_format: str = "",
    diagonal: bool = False,
    steps: bool = False,
) -> Plot:
    """One line for each named (x, y) of `series`.

    A scale that is `doubling` spaces powers of two evenly; one of `ranks` is logarithmic, with rank 1 at the
    top. `diagonal` draws the line y = x, and `steps` keeps each value until the next.
    """
    rows = [
        {"s": name, "x": short(x), "y": short(y)}
        for name, own in series.items()
        for x, y in zip(*own, strict=True)
    ]
    longest = max((len(x) for x, _ in series.values()), default=0)
    encoding = {
        "x": axis("x", x_label, x_scale, [row["x"] for row in rows]),
        "y": axis("y", y_label, y_scale, [row["y"] for row in rows] if y_scale != "linear" else (), y_format),
        "color": colour(list(series)),
        "opacity": picked(),
    }
    mark = {"type": "line", "strokeWidth": 1.8, "interpolate": "step-after" if steps else "linear"}
    layers: list[Spec] = [_line(mark, list(series), encoding)]
    if diagonal:
        layers.insert(0, _diagonal())
    if longest <= 40 and not steps:
        layers.append({"mark": {"type": "point", "filled": True, "size": 22}, "encoding": encoding})
    layers.append(_hover(encoding, [tip("s", "series"), tip("x", x_label), tip("y", y_label or "value")]))
    return Plot(title, _spec(rows, layers, HEIGHT + legend_height(list(series))))


def interval_plot(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float, float]]]
) -> Plot:
    """For each named series, a row, and each of `groups`, a colour, a (mean, low, high): a point and its
    interval.
    """
    rows = [
        {"s": name, "g": group, "mean": short(mean), "low": short(low), "high": short(high)}
        for name, points in series.items()
        for group, (mean, low, high) in zip(groups, points, strict=True)
    ]
    encoding = {
        "y": {"field": "s", "type": "nominal", "sort": list(series), "title": None},
        "yOffset": {"field": "g", "type": "nominal", "sort": list(groups)},
        "color": colour(list(groups), field="g"),
        "opacity": picked(),
    }
    value = {"field": "mean", "type": "quantitative", "title": None, "scale": {"zero": False}}
    told = [tip("s", "guide"), tip("g", "judge")]
    told += [tip(name, name) for name in ("mean", "low", "high")]
    layers = [
        {
            "params": [legend_param("g")],
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {
                **encoding,
                "x": {**value, "field": "low"},
                "x2": {"field": "high"},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "encoding": {**encoding, "x": value, "tooltip": told},
        },
    ]
    height = max(120, ROW * len(series) * max(1, round(len(groups) / 2)))
    return Plot(title, _spec(rows, layers, height))


def point_plot(
    title: str,
    x_label: str,
    y_label: str,
    points: Mapping[str, tuple[float, float]],
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    near_lines: bool = False,
) -> Plot:
    """A point (x, y) for each name of `points`, and through it the line of the same name, where there is one.

    `near_lines` shows no more than what lies about the lines, and names the points there.
    """
    names = list(points)
    rows = [{"s": name, "x": short(x), "y": short(y)} for name, (x, y) in points.items()]
    along = [
        {"s": name, "n": n, "x": short(x), "y": short(y)}
        for name, line in lines.items()
        if name in points
        for n, (x, y) in enumerate(line)
    ]
    encoding = {
        "x": axis("x", x_label, "linear"),
        "y": axis("y", y_label, "linear"),
        "color": colour(names),
        "opacity": picked(),
    }
    for channel in ("x", "y"):
        encoding[channel]["scale"] = {"zero": False, "nice": False, "padding": 10}
    if near_lines:
        domains = {channel: about([row[channel] for row in along]) for channel in ("x", "y")}
        for channel, (low, high) in domains.items():
            encoding[channel]["scale"] = {"domain": [low, high], "nice": False}
            rows = [row for row in rows if low <= row[channel] <= high]
    told = [tip("s", "guide"), tip("x", x_label), tip("y", y_label)]
    shape = {
        "field": "s",
        "type": "nominal",
        "scale": {
            "domain": names,
            "range": [SHAPES[i // len(COLOURS) % len(SHAPES)] for i in range(len(names))],
        },
        "legend": legend(names),
    }
    layers: list[Spec] = [
        {
            "params": [legend_param("s")],
            "mark": {"type": "point", "filled": True, "size": 75},
            "encoding": {**encoding, "shape": shape},
        },
    ]
    if along:
        layers.insert(
            0,
            {
                "data": {"values": along},
                "mark": {"type": "line", "strokeWidth": 1.6, "point": {"size": 14, "filled": True}},
                "encoding": {**encoding, "order": {"field": "n", "type": "quantitative"}},
            },
        )
    if near_lines:
        place = {name: own for name, own in encoding.items() if name in ("x", "y")}
        mark = {"type": "text", "align": "left", "dx": 7, "dy": -6, "color": "currentColor"}
        layers.append({"mark": mark, "encoding": {**place, "text": {"field": "s"}}})
    layers.append(_hover(encoding, told))
    return Plot(title, _spec(rows, layers, HEIGHT + 60 + legend_height(names)))


def share_plot(
    title: str, x_label: str, positions: Sequence[int], series: Mapping[str, Sequence[float]]
) -> Plot:
    """For each named series a row of squares, one for each of `positions`, darker for more."""
    rows = [
        {"s": name, "x": position, "share": round(share, 4)}
        for name, shares in series.items()
        for position, share in zip(positions, shares, strict=True)
        if share > 0
    ]
    place = {
        "x": {"field": "x", "type": "ordinal", "title": x_label, "axis": {"labelAngle": 0}},
        "y": {"field": "s", "type": "nominal", "sort": list(series), "title": None},
    }
    place["x"]["scale"] = {"domain": list(positions)}
    told = [tip("s", "guide"), tip("x", x_label), {**tip("share", "share"), "format": ".1%"}]
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "color": COLOURS[0], "cornerRadius": 2},
            "encoding": {
                **place,
                "opacity": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": [0.06, 0.75]},
                    "legend": None,
                },
                "tooltip": told,
            },
        },
        {
            "transform": [{"filter": "datum.share >= 0.005"}],
            "mark": {"type": "text", "fontSize": 10, "color": "currentColor"},
            "encoding": {**place, "text": {"field": "share", "type": "quantitative", "format": ".0%"}},
        },
    ]
    return Plot(title, _spec(rows, layers, max(80, ROW * len(series))))


def _spec(rows: list[Spec], layers: list[Spec], height: int) -> Spec:
    return {
        "data": {"values": rows},
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": layers,
    }


def _line(mark: Spec, names: list[str], encoding: Spec) -> Spec:
    """The layer of lines, told apart by dashes where there are more of them than colours."""
    if len(names) > len(COLOURS):
        dashes = [DASHES[i // len(COLOURS) % len(DASHES)] for i in range(len(names))]
        scale = {"domain": names, "range": dashes}
        dash = {"field": "s", "type": "nominal", "scale": scale, "legend": legend(names)}
        encoding = {**encoding, "strokeDash": dash}
    return {"params": [legend_param("s")], "mark": mark, "encoding": encoding}


def _diagonal() -> Spec:
    ends = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    place = {name: {"field": name, "type": "quantitative"} for name in ("x", "y")}
    mark = {"type": "line", "strokeDash": [3, 3], "color": "currentColor", "opacity": 0.5}
    return {"data": {"values": ends}, "mark": mark, "encoding": place}


def _hover(encoding: Spec, told: list[Spec]) -> Spec:
    """Points that show themselves and what they are under the pointer."""
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    return {
        "name": HOVER,
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "filled": True, "size": 90},
        "encoding": {
            **{name: own for name, own in encoding.items() if name in ("x", "y", "color")},
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            "tooltip": told,
        },
    }
