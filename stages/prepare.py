"""Canonical tables of one data set: interactions, items and the split of users, and statistics of what was
dropped and why.
"""

from pathlib import Path

from prorl.config.prepare import Prepare
from prorl.datasets.fetching import fetched_source
from prorl.files import write_json
from prorl.params import Params
from prorl.paths.preparing import prepare
from prorl.runtime import derived_seed, run_stage
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS, write_table


def body(params: Params, dataset: str) -> None:
    settings = params.section(Prepare, dataset)
    raw = Path("data/raw") / dataset
    log = fetched_source(raw).read(raw, settings)
    prepared = prepare(log, settings, derived_seed(params.seed, "prepare", dataset))
    folder = Path("data/prepared") / dataset
    write_table(folder / "interactions.parquet", prepared.interactions, INTERACTIONS)
    write_table(folder / "items.parquet", prepared.items, ITEMS)
    write_table(folder / "splits.parquet", prepared.splits, USER_SPLITS)
    write_json(Path("reports") / dataset / "prepare.json", prepared.statistics)


if __name__ == "__main__":
    run_stage("prepare", body)
