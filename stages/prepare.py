"""Canonical tables of one data set: interactions, items and the split of users, and statistics of what was
dropped and why.
"""

from prorl.config.prepare import Prepare
from prorl.datasets.fetching import fetched_source
from prorl.files import write_json
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.preparing import prepare
from prorl.runtime import derived_seed, run_stage
from prorl.spark.preparing import prepare_by_spark
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS, write_table


def body(params: Params, dataset: str) -> None:
    layout, source = Layout(dataset), fetched_source(Layout(dataset).raw)
    settings = source.completed(params.section(Prepare, dataset))
    seed = derived_seed(params.seed, "prepare", dataset)
    if settings.engine == "spark":
        prepared = prepare_by_spark(source, layout.raw, settings, seed, layout.interactions, layout.splits)
    else:
        prepared = prepare(source.read(layout.raw, settings), settings, seed)
        write_table(layout.interactions, prepared.interactions, INTERACTIONS)
        write_table(layout.splits, prepared.splits, USER_SPLITS)
    write_table(layout.items, prepared.items, ITEMS)
    write_json(layout.metrics("prepare"), prepared.statistics)
    prepared.told.show()


if __name__ == "__main__":
    run_stage("prepare", body)
