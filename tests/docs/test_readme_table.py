"""The table of guides in README.md says what the benchmark's files say."""

import json

import pytest

from prorl.errors import DataError
from tools.readme_table import ALSO, BEGIN, END, FOLDER, README, block, interval, with_block
from tools.stage_dependencies import ROOT

PAGE = """\
# Guides on x

## Findings

- Judged by J, a has the highest score of 9 guides; prorl is number 2.
- Judged by K, no guide that it does not steer has clearly more IoI than prorl at no clearly lower CTR.
- Judged by L, a (+0.50) has clearly more IoI than prorl at no clearly lower CTR.
- Judged by L, prorl has clearly more IoI than random, at no clearly lower CTR.

## Guides ranked by J, the main judge; score: 1 ioi

| guide | rank | score | steered by | simulator states per prompt |
| --- | ---: | ---: | ---: | ---: |
"""
GUIDES = ("a", "prorl", *ALSO)


@pytest.fixture
def folder(tmp_path):
    """A benchmark of few guides, the last of which is steered by the judge."""
    rows = [f"| {guide} | {n} | {9 - n}.00 | - | {1000 * n:,} |" for n, guide in enumerate(GUIDES, start=1)]
    rows[1] = "| **prorl** | 2 | 7.00 | - | 0 |"
    rows[-1] = f"| {GUIDES[-1]} | steered by J | 1.00 | J | 4 |"
    (tmp_path / "guides.md").write_text(PAGE + "\n".join(rows) + "\n", encoding="utf-8")
    value = {"mean": 1.234567, "low": -0.5, "high": 2.0}
    figures = {
        guide: {"J": dict.fromkeys(("ioi", "ior", "ctr", "coherence", "distinct"), value)} for guide in GUIDES
    }
    (tmp_path / "guides.json").write_text(json.dumps(figures), encoding="utf-8")
    return tmp_path


def test_the_readme_is_up_to_date():
    text = README.read_text(encoding="utf-8")
    assert with_block(text, block(ROOT / FOLDER)) == text, "run `python -m tools.readme_table --write`"


def test_rows_have_figures_ranks_steering_and_states(folder):
    text = block(folder)
    cells = (
        "1.23 [-0.50, 2.00] | 1 [0, 2] | 1.235 [-0.500, 2.000] | 1.235 [-0.500, 2.000] | 1.23 [-0.50, 2.00]"
    )
    assert f"| `a` | 1 | {cells} |  | 1,000 |" in text
    assert f"| **`prorl`** | 2 | {cells} |  | 0 |" in text
    assert f"| `{GUIDES[-1]}` | steered by J | {cells} | J | 4 |" in text
    assert f"Ranks are of {len(GUIDES) - 1} guides, by 1 ioi." in text


def test_who_beats_prorl_is_told_whoever_judges(folder):
    told = [line for line in block(folder).splitlines() if line.startswith("- ")]
    assert told == [
        "- Judged by J, a has the highest score of 9 guides; prorl is number 2.",
        "- Judged by L, a (+0.50) has clearly more IoI than prorl at no clearly lower CTR.",
    ]


def test_what_the_benchmark_lacks_is_named(folder):
    page = folder / "guides.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("| beam |", "| beam_2 |"), encoding="utf-8")
    with pytest.raises(DataError, match="ranking: beam: missing; found a, prorl"):
        block(folder)
    page.write_text(text.replace("## Guides ranked", "## Guides"), encoding="utf-8")
    with pytest.raises(DataError, match=r"guides\.md: no heading 'Guides ranked by \.\.'"):
        block(folder)
    page.write_text(text, encoding="utf-8")
    (folder / "guides.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"guides\.json: a: missing"):
        block(folder)


def test_the_block_goes_between_its_marks_and_needs_both():
    assert with_block(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    for text in ("", BEGIN, f"{BEGIN}{END}{END}"):
        with pytest.raises(DataError, match=r"README\.md: needed one line"):
            with_block(text, "new")


def test_decimals_are_those_of_the_metric():
    assert interval("ctr", {"mean": 0.5, "low": 0.25, "high": 0.75}) == "0.500 [0.250, 0.750]"
