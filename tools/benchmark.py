"""The benchmark: `presets/benchmark.yaml` run with the checkout's DVC cache, and the ranking of its guides
brought back into `reports/benchmark/<dataset>/guides.{md,json}`: `python -m tools.benchmark`.

The page that is brought back also has the milliseconds of this machine. Arguments are those of `dvc repro`.
"""

import os
import sys
from pathlib import Path

from prorl.config.decoding import Decoding
from prorl.config.section import ConfigError
from prorl.config.selection import Selection
from prorl.evaluation.judged import MILLISECONDS
from prorl.files import atomic_file, read_json, write_json
from prorl.layout import Layout
from prorl.params import read_params
from prorl.reports import guides_page
from prorl.reports.inputs import read_inputs
from prorl.reports.ranking import Benchmark
from prorl.worktrees import WorktreeError
from tools import preset

PRESET = "benchmark"
TABLES = preset.ROOT / "reports" / PRESET


def bring_back(folder: Path) -> None:
    """Write the ranking of the guides that were run in the current folder below `folder`, by data set."""
    params = read_params()
    selection, decoding = params.section(Selection), params.section(Decoding)
    for dataset in params.datasets:
        layout = Layout(dataset)
        inputs = read_inputs(layout, params.simulators, params.guides)
        milliseconds = read_json(layout.runtime)[MILLISECONDS]
        benchmark = Benchmark.of(params, inputs, selection, decoding, milliseconds)
        with atomic_file(folder / dataset / "guides.md") as temporary:
            temporary.write_text(guides_page.page(inputs, benchmark), encoding="utf-8")
        write_json(folder / dataset / "guides.json", guides_page.document(inputs))


def main(arguments: list[str]) -> int:
    """Run the preset, and bring back its ranking; gives the exit status of `dvc repro`."""
    status = preset.main(["--shared", PRESET, *arguments])
    if status == 0:
        os.chdir(preset.ROOT / preset.WORKTREES / PRESET)
        bring_back(TABLES)
        print(f"benchmark: {TABLES.relative_to(preset.ROOT)}")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (WorktreeError, ConfigError) as failure:
        sys.exit(f"benchmark: {failure}")
