"""Instances of one data set: mined runs with the history before them, and random targets for validation and
test.
"""

from prorl.config.mine import Mine
from prorl.files import write_json
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.instances import mine
from prorl.paths.mine_told import told_of_mine
from prorl.runtime import run_stage
from prorl.tables import (
    INSTANCES,
    INTERACTIONS,
    ITEMS,
    PROMPTED_INSTANCES,
    USER_SPLITS,
    VERDICTS,
    read_table,
    write_table,
)


def body(params: Params, dataset: str) -> None:
    layout, settings = Layout(dataset), params.section(Mine, dataset)
    verdicts = None
    if settings.feasibility != "attributes" and settings.import_ is None:
        verdicts = read_table(layout.verdicts(settings.feasibility), VERDICTS)
    tables, statistics = mine(
        read_table(layout.interactions, INTERACTIONS),
        read_table(layout.items, ITEMS),
        read_table(layout.splits, USER_SPLITS),
        settings,
        (params.seed, "mine", dataset),
        verdicts,
    )
    for split, table in tables.items():
        schema = INSTANCES if split == "train" else PROMPTED_INSTANCES
        write_table(layout.instances(split), table, schema)
    write_json(layout.metrics("mine"), statistics)
    told_of_mine(tables, statistics).show()


if __name__ == "__main__":
    run_stage("mine", body)
