"""Raw files of one data set, from its package, its publisher or a local archive, into data/raw/<dataset>/.

PRORL_ARCHIVES names a folder of local archives, asked before the data set's own place.
"""

import os
from pathlib import Path

from prorl.config.fetch import Fetch
from prorl.config.logging import Logging
from prorl.datasets.fetching import fetch
from prorl.params import Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    archives = os.environ.get("PRORL_ARCHIVES")
    fetch(
        dataset,
        params.section(Fetch, dataset),
        Path("data/raw") / dataset,
        archives=Path(archives) if archives else None,
        downloads=Path(".checkpoints/fetch") / dataset,
        checksums=Path("reports") / dataset / "checksums.json",
        every_seconds=params.section(Logging).every_seconds,
    )


if __name__ == "__main__":
    run_stage("fetch", body)
