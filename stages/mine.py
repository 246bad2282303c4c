"""Instances of one data set: mined runs with the history before them, and random targets for validation and
test.
"""

from pathlib import Path

from prorl.config.mine import Mine
from prorl.files import write_json
from prorl.params import Params
from prorl.paths.instances import mine
from prorl.runtime import run_stage
from prorl.tables import (
    INSTANCES,
    INTERACTIONS,
    ITEMS,
    PROMPTED_INSTANCES,
    USER_SPLITS,
    read_table,
    write_table,
)


def body(params: Params, dataset: str) -> None:
    prepared = Path("data/prepared") / dataset
    tables, statistics = mine(
        read_table(prepared / "interactions.parquet", INTERACTIONS),
        read_table(prepared / "items.parquet", ITEMS),
        read_table(prepared / "splits.parquet", USER_SPLITS),
        params.section(Mine, dataset),
        (params.seed, "mine", dataset),
    )
    for split, table in tables.items():
        write_table(
            Path("data/instances") / dataset / f"{split}.parquet",
            table,
            INSTANCES if split == "train" else PROMPTED_INSTANCES,
        )
    write_json(Path("reports") / dataset / "mine.json", statistics)


if __name__ == "__main__":
    run_stage("mine", body)
