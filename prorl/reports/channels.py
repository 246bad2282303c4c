"""What the plots have in common: axes with their ticks, colours, legends, and what the pointer is told."""

import math
from collections.abc import Sequence
from typing import Any, Literal

Spec = dict[str, Any]
Scale = Literal["linear", "log", "doubling", "ranks"]

WIDTH = 480  # of a plot that stands still; one that a browser draws is as wide as its place
COLOURS = (
    *("#2f7fd1", "#e0762b", "#2a9d74", "#c2569a", "#8673d4", "#a58a22"),
    *("#d24b57", "#3ba3b3", "#77838f", "#679f38", "#b06a3c", "#d58fb8"),
)


def axis(channel: str, label: str, scale: Scale, values: Sequence[float] = (), number: str = "") -> Spec:
    """The channel `channel`, x or y, of the field of its name, called `label`.

    `values` are those on the axis, where it is to have other ticks than Vega's; `number` is how they are
    written, in D3's words. A scale that is `doubling` spaces powers of two evenly; one of `ranks` is
    logarithmic, with rank 1 at the top.
    """
    look = {**(ticks(values, scale) if values else {}), **({"format": number} if number else {})}
    found: Spec = {"field": channel, "type": "quantitative", "title": label or None}
    if look:
        found["axis"] = look
    scales: dict[Scale, Spec] = {
        "linear": {"zero": False, "nice": channel == "y"},
        "log": {"type": "log"},
        "doubling": {"type": "log", "base": 2},
        "ranks": {"type": "log", "reverse": True, "domainMin": 1},
    }
    return {**found, "scale": scales[scale]}


def ticks(values: Sequence[float], scale: Scale) -> Spec:
    """The ticks of an axis for `values`, where they are to be others than Vega's: at each of few whole
    numbers, and on a logarithmic axis at few round ones.
    """
    there = sorted(set(map(float, values)))
    if scale in ("log", "ranks"):
        lowest, highest = (math.log10(there[i]) for i in (0, -1))
        lowest = 0.0 if scale == "ranks" else lowest
        powers = range(math.floor(lowest), math.ceil(highest) + 1)
        parts = (1, 3) if len(powers) <= 4 else (1,)
        return {"values": [float(f"{part}e{power}") for power in powers for part in parts]}
    if scale == "doubling" or (len(there) <= 12 and all(value.is_integer() for value in there)):
        return {"values": there, "format": "~f"}
    return {}


def about(values: Sequence[float]) -> list[float]:
    """The range of `values` and a quarter of it on each side."""
    low, high = min(values), max(values)
    margin = 0.25 * (high - low) or 0.1
    return [short(low - margin), short(high + margin)]


def colour(names: list[str], field: str = "s") -> Spec:
    """The colour of each of `names`, values of `field`; they come round again where there are more names."""
    scale = {"domain": names, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend(names)}


def legend(names: list[str]) -> Spec | None:
    """Below the plot, in as many columns as names have room for; none for a single name."""
    if len(names) < 2:
        return None
    longest = max(map(len, names))
    return {
        "title": None,
        "orient": "bottom",
        "columns": max(1, min(len(names), WIDTH // (30 + 7 * longest))),
    }


def legend_height(names: list[str]) -> int:
    """What a legend of `names` takes below a plot."""
    own = legend(names)
    return 16 * math.ceil(len(names) / own["columns"]) if own else 0


def legend_param(field: str) -> Spec:
    """A click in the legend picks what stays strong."""
    return {"name": "picked", "select": {"type": "point", "fields": [field]}, "bind": "legend"}


def picked() -> Spec:
    """The opacity of what is picked in the legend, or of all where nothing is, and that of the others."""
    return {"condition": {"param": "picked", "value": 1}, "value": 0.12}


def tip(field: str, title: str) -> Spec:
    """A line of what the pointer is told: the value of `field`, called `title`."""
    kind = "nominal" if field in ("s", "g") else "quantitative"
    return {"field": field, "type": kind, "title": title}


def short(value: float) -> float:
    """Six digits: more than a plot shows, and the same on every machine that computes them a bit apart."""
    return float(f"{value:.6g}")
