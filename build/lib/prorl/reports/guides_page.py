"""The ranking of guides as Markdown, for readers of the repository, and its numbers as JSON."""

from typing import Any

from prorl.config.decoding import Decoding
from prorl.reports.findings import findings
from prorl.reports.inputs import ReportInputs
from prorl.reports.ranking import OWN, Benchmark, against_own, by_other_judges, lengths, ranking, tried
from prorl.reports.tables import Table, judges


def page(inputs: ReportInputs, benchmark: Benchmark) -> str:
    """The page: findings, then the tables."""
    tables = [
        ranking(inputs, benchmark),
        *by_other_judges(inputs, benchmark),
        *against_own(inputs, benchmark),
        *lengths(inputs, benchmark),
    ]
    lines = [f"# Guides on {inputs.dataset}", "", *about(inputs, benchmark), "", "## Findings", ""]
    lines += [f"- {sentence}" for sentence in findings(inputs, benchmark)]
    for table in tables:
        lines += ["", f"## {table.caption}", "", *_rows(table)]
    return "\n".join(lines) + "\n"


def about(inputs: ReportInputs, benchmark: Benchmark) -> list[str]:
    """What the tables are of, as paragraphs' lines."""
    prompts = inputs.greedy.prompt.nunique()
    several = [guide for guide in inputs.guides if tried(inputs, guide) > 1]
    chosen = (
        f"Settings of {', '.join(several)} were chosen among those tried on {benchmark.selection.prompts} "
        f"validation prompts, judged by {benchmark.selection.simulator}."
        if several
        else "No guide's settings were chosen among several."
    )
    return [
        f"Greedy paths for {prompts:,} test prompts with random targets, judged by "
        f"{', '.join(judges(inputs))}. {rules(benchmark.decoding)} Means with 95% bootstrap intervals over "
        f"users; {OWN} is compared with every other guide prompt by prompt. {chosen}",
    ]


def rules(decoding: Decoding) -> str:
    """What no path may hold, and how long it is."""
    forbidden = f"No path holds {' or '.join(decoding.forbid)}" if decoding.forbid else "Nothing is forbidden"
    return f"Rules of all guides: {forbidden}; {decoding.min_length} to {decoding.max_length} items."


def document(inputs: ReportInputs) -> dict[str, Any]:
    """{guide: {simulator: {metric: {mean, low, high}}}} of greedy paths."""
    return {
        guide: {
            name: {metric: value for metric, value in judged[name].items() if "mean" in value}
            for name in judges(inputs)
        }
        for guide, judged in inputs.evaluation.items()
    }


def _rows(table: Table) -> list[str]:
    lines = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)]]
    own = [[f"**{row[0]}**" if row[0] == OWN else row[0], *row[1:]] for row in table.rows]
    return [f"| {' | '.join(cells)} |" for cells in [*lines, *own]]
