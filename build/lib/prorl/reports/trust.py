"""Whether figures can be believed and a policy released: tables of the stages `validate` and `gate`."""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from prorl.metrics.registry import in_order, label
from prorl.reports.figures import line_plot
from prorl.reports.tables import MISSING, Table, number, with_interval

Found = Mapping[str, Any]  # what `validate` wrote of one simulator
STATISTICS = {
    "attribute_repeats": "Items that share an attribute with the one before",
    "popularity": "Popularity, log(1 + interactions)",
    "item_repeats": "Items shown before",
}
COMPARED = {
    "real": "real users",
    "simulated": "simulated users",
    "ks": "KS distance of the two",
    "ks_of_real": "KS distance of test users and validation users",
}


def validation(validated: Mapping[str, Found]) -> Table:
    """What each simulator, a column, was found to be on test users."""
    first = next(iter(validated.values()))
    rows: dict[str, Callable[[Found], str]] = {
        f"Next item, {metric}": lambda own, metric=metric: with_interval(own["next_item"][metric], 4)
        for metric in first["next_item"]
    }
    rows["AUC of acceptance"] = lambda own: with_interval(own["auc"]["acceptance"])
    rows["AUC of popularity alone"] = lambda own: with_interval(own["auc"]["popularity"])
    rows["Temperature"] = lambda own: number(own["calibration"]["temperature"])
    for key, name in (("ece", "Expected calibration error"), ("log_loss", "Log loss")):
        for when in ("before", "after"):
            rows[f"{name}, {when} temperature"] = lambda own, when=when, key=key: with_interval(
                own["calibration"][when][key]
            )
    for statistic, name in STATISTICS.items():
        for part, of in COMPARED.items():
            rows[f"{name}: {of}"] = lambda own, place=(statistic, part): _compared(
                own["continuations"], *place
            )
    caption = (
        f"Simulators asked at {first['places']['test']:,} places in the logs of {first['users']['test']:,} "
        f"test users, after {first['history_length']} items; {first['auc']['sampled']} items sampled beside "
        f"each real one, {first['calibration']['ratio']:g} to 1 in calibration"
    )
    return Table(
        caption,
        ["", *validated],
        [[name, *(cell(own) for own in validated.values())] for name, cell in rows.items()],
    )


def _compared(stretches: Found, statistic: str, part: str) -> str:
    if statistic not in stretches:
        return MISSING
    value = stretches[statistic][part]
    return with_interval(value) if isinstance(value, dict) else number(value)


def reliability(validated: Mapping[str, Found]) -> Markup:
    """The share of real items by acceptance, before temperature and after; a calibrated simulator's line is
    the diagonal.
    """
    series = {"calibrated": ([0.0, 1.0], [0.0, 1.0])}
    for name, own in validated.items():
        for when in ("before", "after"):
            bins = own["calibration"][when]["bins"]
            series[f"{name}, {when}"] = [b["acceptance"] for b in bins], [b["real"] for b in bins]
    return line_plot("Share of real items", "acceptance", series)


def agreement(gate: Mapping[str, Any]) -> Table:
    """How alike any two judges rank the guides that steer by neither: a row for each two and each ranking."""
    table = Table(
        "Judges' rankings of guides that steer by neither of the two", ["", "guides", "Kendall", "Spearman"]
    )
    for name, pairs in gate["agreement"].items():
        for pair, own in pairs.items():
            cells = [with_interval(own[key]) if own[key] else MISSING for key in ("kendall", "spearman")]
            table.rows.append([f"{pair}, by {_name(name)}", number(len(own["guides"])), *cells])
    return table


def gates(gate: Mapping[str, Any]) -> Table:
    """Every gate with its value, what is allowed and its verdict."""
    weights = [(metric, gate["score"][metric]) for metric in in_order(gate["score"])]
    score = " + ".join(f"{weight:g} {_name(metric)}" for metric, weight in weights)
    table = Table(
        f"Gates of {gate['policy']}, judged by {gate['judge']}; the score is {score}",
        ["", "value", "allowed", "verdict"],
    )
    for own in gate["gates"].values():
        value = with_interval(own["value"]) if own["value"] else MISSING
        allowed = " ".join(f"{bound} {threshold:g}" for bound, threshold in own["allowed"].items())
        why = f": {own['why']}" if "why" in own else ""
        table.rows.append([own["asks"], value, allowed, f"{own['verdict']}{why}"])
        parts = own.get("parts", {})
        for metric in in_order(parts):
            table.rows.append([f"of it {_name(metric)}", with_interval(parts[metric]), "", ""])
    return table


def _name(metric: str) -> str:
    return label(metric).split(",")[0]
