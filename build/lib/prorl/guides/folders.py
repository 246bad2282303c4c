"""Folders of guides that are not listed any more: DVC calls them up to date, and `evaluate` depends on what
holds them.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from prorl.layout import Layout
from prorl.params import Params


def unlisted_guides(root: Path, layout: Layout, guides: Collection[str]) -> list[Path]:
    """The folders below `root` of guides of one data set that are not among `guides`."""
    there = (root / layout.guides).glob("[!.]*")  # without what a killed run was writing
    return sorted(path for path in there if path.is_dir() and path.name not in guides)


def left_behind(params: Params) -> Iterator[str]:
    """Those that `guides` of params.yaml no longer names, a line each."""
    for dataset in params.datasets:
        for folder in unlisted_guides(Path(), Layout(dataset), params.guides):
            yield (
                f"{folder}: a guide that `guides` of {params.source} does not name; remove it: rm -r {folder}"
            )
