"""What the benchmark found, in plain words computed from its numbers: who beats `prorl`, who does not, and at
what cost.
"""

from prorl.metrics.registry import METRICS
from prorl.reports.inputs import ReportInputs
from prorl.reports.ranking import OWN, Benchmark, differences, ranked
from prorl.reports.tables import STATES, judges, number


def findings(inputs: ReportInputs, benchmark: Benchmark) -> list[str]:
    """One sentence each: the ranking, then for every judge who has clearly more interest than `prorl` at no
    clearly lower acceptance, what that costs, and whom `prorl` beats in both.

    Clear is a difference whose interval excludes 0 and whose p-value, adjusted over guides, is below 0.05.
    """
    first, steered = ranked(inputs, benchmark)
    main = benchmark.selection.simulator
    found = [
        f"Judged by {main}, {first[0]} has the highest score of {len(first)} guides; {OWN} is number "
        f"{first.index(OWN) + 1}."
    ]
    if steered:
        found.append(
            f"{_listed(steered)} {'is' if len(steered) == 1 else 'are'} steered by {main}: not ranked."
        )
    for judge in judges(inputs):
        found += _under(inputs, benchmark, judge)
    return found


def _under(inputs: ReportInputs, benchmark: Benchmark, judge: str) -> list[str]:
    ioi, ctr = (differences(inputs, judge, metric) for metric in ("ioi", "ctr"))
    home = [guide for guide in ioi if judge in benchmark.roles[guide].steers]
    fair = [guide for guide in ioi if guide not in home]
    found = []
    for guides, where in ((fair, f"Judged by {judge}"), (home, f"Judged by {judge}, which also steers them")):
        better = [guide for guide in guides if ioi[guide].sign < 0 and ctr[guide].sign <= 0]
        trade = [guide for guide in guides if ioi[guide].sign < 0 < ctr[guide].sign]
        if better:
            each = [f"{guide} ({-ioi[guide].mean:+.2f}{_cost(inputs, guide)})" for guide in better]
            found.append(
                f"{where}, {_listed(each)} {_have(better)} clearly more {_short('ioi')} than {OWN} at no "
                f"clearly lower {_short('ctr')}."
            )
        if trade:
            found.append(
                f"{where}, {_listed(trade)} {_have(trade)} clearly more {_short('ioi')} than {OWN}, at "
                f"clearly lower {_short('ctr')}."
            )
    if not any(ioi[guide].sign < 0 and ctr[guide].sign <= 0 for guide in fair):
        found.append(
            f"Judged by {judge}, no guide that it does not steer has clearly more {_short('ioi')} than {OWN} "
            f"at no clearly lower {_short('ctr')}."
        )
    beaten = [guide for guide in fair if ioi[guide].sign > 0 and ctr[guide].sign >= 0]
    if beaten:
        found.append(
            f"Judged by {judge}, {OWN} has clearly more {_short('ioi')} than {_listed(beaten)}, at no "
            f"clearly lower {_short('ctr')}."
        )
    return found


def _cost(inputs: ReportInputs, guide: str) -> str:
    """Why a guide may be ahead: it asks a simulator while it writes."""
    states = inputs.evaluation[guide].get(STATES)
    return f", with {number(float(states), 0)} simulator states per prompt" if states else ""


def _have(guides: list[str]) -> str:
    return "has" if len(guides) == 1 else "have"


def _short(metric: str) -> str:
    return METRICS[metric].label.split(",")[0]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
