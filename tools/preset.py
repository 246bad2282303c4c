"""A run of the pipeline with a preset's settings, in a git worktree of its own: `python tools/preset.py
ml-1m`.

`presets/<name>.yaml` is laid over params.yaml of the last commit: a mapping is merged key by key, anything
else is replaced. Entries of data sets that `datasets` then no longer names are left out, and empty ones are
filled in where a data set has none. The worktree `.presets/<name>` has its own params.yaml, dvc.lock,
reports, models and DVC cache, so the checkout's stay as they are. With `--shared` it uses the checkout's DVC
cache, and starts from what has run there. It is kept: the next run brings it to the commit that is then
checked out, and goes on from what is there.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from prorl.config.section import ConfigError
from prorl.layout import Layout
from prorl.params import PARAMS_FILE
from prorl.presets import preset_file, with_layers, write_params
from prorl.worktrees import (
    WorktreeError,
    alone_in,
    bring_to,
    environment,
    head,
    refuse_uncommitted_changes,
    remove_unlisted_guides,
    share_cache,
    share_lock,
)

ROOT = Path(__file__).resolve().parent.parent
WORKTREES = Path(".presets")
KEPT = ("params.yaml", "dvc.lock", "reports")  # the worktree's own, beside what git ignores


def main(arguments: list[str]) -> int:
    """Run `dvc repro` for a preset; gives its exit status."""
    parser = argparse.ArgumentParser(
        prog="preset", description="Run the pipeline with a preset's settings, in a worktree of its own."
    )
    parser.add_argument("preset", help="the name of a file of presets/, without .yaml")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings of your own, laid over the preset's"
    )
    parser.add_argument(
        "--shared", action="store_true", help="use the checkout's DVC cache: start from what has run there"
    )
    parser.add_argument(
        "repro", nargs=argparse.REMAINDER, metavar="...", help="arguments of `dvc repro`, such as a stage"
    )
    options = parser.parse_args(arguments)
    layers = [preset_file(ROOT, options.preset), *([options.settings] if options.settings else [])]
    worktree = ROOT / WORKTREES / options.preset
    refuse_uncommitted_changes(ROOT)
    params = with_layers(ROOT / PARAMS_FILE, layers)
    with alone_in(worktree):
        bring_to(ROOT, worktree, head(ROOT), KEPT)
        write_params(params, worktree / PARAMS_FILE)
        if options.shared:
            share_cache(ROOT, worktree)
            share_lock(ROOT, worktree)
        for dataset in params["datasets"]:
            remove_unlisted_guides(worktree, Layout(dataset), params["guides"])
        print(f"preset {options.preset}: in {worktree.relative_to(ROOT)}", flush=True)
        return subprocess.run(
            ["dvc", "repro", *options.repro], cwd=worktree, env=environment(worktree), check=False
        ).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (WorktreeError, ConfigError) as failure:
        sys.exit(f"preset: {failure}")
