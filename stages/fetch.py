"""Raw files of one data set, from its package, its publisher or a local archive, into data/raw/<dataset>/.

PRORL_ARCHIVES names a folder of local archives, asked before the data set's own place.
"""

import os
from pathlib import Path

from prorl.config.fetch import Fetch
from prorl.config.logging import Logging
from prorl.datasets.fetching import fetch
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    layout, archives = Layout(dataset), os.environ.get("PRORL_ARCHIVES")
    fetch(
        dataset,
        params.section(Fetch, dataset),
        layout.raw,
        archives=Path(archives) if archives else None,
        downloads=layout.checkpoints("fetch"),
        checksums=layout.downloaded_checksums,
        every_seconds=params.section(Logging).every_seconds,
    )


if __name__ == "__main__":
    run_stage("fetch", body)
