"""Instances of one data set: mined runs with the history before them, and random targets for validation and
test.
"""

from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.files import write_json
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.instances import mine
from prorl.paths.mine_told import told_of_mine
from prorl.runtime import run_stage
from prorl.spark.mining import mine_by_spark
from prorl.tables import (
    INSTANCES,
    INTERACTIONS,
    ITEMS,
    PROMPTED_INSTANCES,
    SPLITS,
    USER_SPLITS,
    VERDICTS,
    read_table,
    write_table,
)


def body(params: Params, dataset: str) -> None:
    layout, settings = Layout(dataset), params.section(Mine, dataset)
    judged = settings.feasibility != "attributes" and settings.import_ is None
    verdicts = layout.verdicts(settings.feasibility) if judged else None
    items, seed = read_table(layout.items, ITEMS), (params.seed, "mine", dataset)
    if settings.engine == "spark":
        statistics, told = mine_by_spark(
            layout.interactions,
            layout.splits,
            items,
            verdicts,
            settings,
            params.section(Prepare, dataset).spark,
            seed,
            {split: layout.instances(split) for split in SPLITS},
        )
    else:
        tables, statistics = mine(
            read_table(layout.interactions, INTERACTIONS),
            items,
            read_table(layout.splits, USER_SPLITS),
            settings,
            seed,
            read_table(verdicts, VERDICTS) if verdicts else None,
        )
        for split, table in tables.items():
            schema = INSTANCES if split == "train" else PROMPTED_INSTANCES
            write_table(layout.instances(split), table, schema)
        told = told_of_mine(tables, statistics)
    write_json(layout.metrics("mine"), statistics)
    told.show()


if __name__ == "__main__":
    run_stage("mine", body)
