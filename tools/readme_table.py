"""The table of guides in README.md, from the benchmark's files: `python -m tools.readme_table` prints it,
`--write` puts it between its marks in the README.

Figures come from `guides.json`; ranks, simulators and states from the table of `guides.md` beside it, and the
sentences below from that page's findings. Guides that rank above `prorl` are always shown, the best of them
first, and a finding that somebody beats it is always told.
"""

import re
import sys
from pathlib import Path

from prorl.errors import DataError
from prorl.files import read_json
from prorl.metrics.registry import decimals_of
from prorl.reports.ranking import OWN

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FOLDER = Path("reports/benchmark/ml-100k")
BEGIN, END = "<!-- guides: python -m tools.readme_table --write -->", "<!-- end of guides -->"
ABOVE = 4  # guides above `prorl` that are shown at most
ALSO = ("pretrained", "search", "beam", "itmprec", "target_neighbours", "popular", "random")
METRICS = {"ioi": "IoI", "ior": "IoR", "ctr": "CTR", "coherence": "Coherence", "distinct": "distinct"}
DECIMALS = {"ioi": 2, "ior": 0, "distinct": 2}  # fewer than a metric's own


def block(folder: Path) -> str:
    """The table and the sentences below it, from the benchmark in `folder`.

    Raises `DataError` naming what its page or its figures lack.
    """
    page, figures = (folder / "guides.md").read_text(encoding="utf-8"), read_json(folder / "guides.json")
    judge, score, ranking = ranking_of(page, folder / "guides.md")
    lines = [
        f"| guide, judged by {judge} | rank | {' | '.join(METRICS.values())} | steered by | states |",
        f"|---|---|{'---|' * len(METRICS)}---|---|",
    ]
    for guide in shown(list(ranking)):
        own = ranking[guide]
        if guide not in figures:
            raise DataError(f"{folder / 'guides.json'}: {guide}: missing; found {', '.join(figures)}")
        name = f"**`{guide}`**" if guide == OWN else f"`{guide}`"
        cells = [interval(metric, figures[guide][judge][metric]) for metric in METRICS]
        steered = "" if own["steered by"] == "-" else own["steered by"]
        states = own["simulator states per prompt"]
        lines.append(f"| {' | '.join([name, own['rank'], *cells, steered, states])} |")
    n_ranked = sum(own["rank"].isdigit() for own in ranking.values())
    lines += [
        "",
        f"Ranks are of {n_ranked} guides, by {score}. *States* are those of a simulator that a guide",
        "computes for each prompt while it writes. Means and 95% intervals over users. Who beats whom, by",
        "paired differences adjusted over all guides:",
        "",
        *(f"- {sentence}" for sentence in sentences(page, judge)),
    ]
    return "\n".join(lines)


def ranking_of(page: str, path: Path) -> tuple[str, str, dict[str, dict[str, str]]]:
    """The main judge, the score, and {guide: {column: cell}} in the order of the page's ranking."""
    heading = r"^## Guides ranked by (\w+), the main judge; score: (.*)\n\n((?:\|.*\n)+)"
    head = re.search(heading, page, flags=re.MULTILINE)
    if head is None:
        raise DataError(f"{path}: no heading 'Guides ranked by ..' with a table below, needed one")
    columns, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in head[3].splitlines()
    )
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return head[1], head[2], {row["guide"].strip("*"): row for row in found}


def shown(guides: list[str]) -> list[str]:
    """Those of the ranked `guides` that the table shows, in their order."""
    if missing := [guide for guide in (OWN, *ALSO) if guide not in guides]:
        raise DataError(f"the benchmark's ranking: {missing[0]}: missing; found {', '.join(guides)}")
    above = guides[: guides.index(OWN)]
    return [guide for guide in guides if guide in (*above[:ABOVE], OWN, *ALSO)]


def interval(metric: str, value: dict[str, float]) -> str:
    """Mean and interval of `metric`."""
    decimals = DECIMALS.get(metric, decimals_of(metric))
    mean, low, high = (f"{value[part]:z.{decimals}f}" for part in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def sentences(page: str, judge: str) -> list[str]:
    """The page's findings by `judge`, and those of other judges that somebody beats `prorl`."""
    findings = re.findall(
        r"^- (.*)$", page.partition("\n## Findings\n")[2].partition("\n## ")[0], re.MULTILINE
    )
    by_main = [text for text in findings if text.startswith(f"Judged by {judge}")]
    beaten = f"clearly more IoI than {OWN} at no clearly lower CTR"
    others = [
        text for text in findings if beaten in text and ", no guide" not in text and text not in by_main
    ]
    return [*by_main, *others]


def with_block(text: str, new: str) -> str:
    """`text` of the README with `new` between the marks. Raises `DataError` where they are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise DataError(f"README.md: needed one line {BEGIN!r} and one line {END!r} below it")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str]) -> None:
    """Print the block, or write it with `--write`."""
    if arguments not in ([], ["--write"]):
        sys.exit("usage: python -m tools.readme_table [--write]")
    try:
        new = block(ROOT / FOLDER)
        if not arguments:
            print(new)
            return
        README.write_text(with_block(README.read_text(encoding="utf-8"), new), encoding="utf-8")
    except (DataError, OSError) as error:
        sys.exit(f"readme_table: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
