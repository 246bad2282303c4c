"""Texts of items written by a language model: `python stages/profiles.py <dataset>`."""

import pyarrow as pa

from prorl.config.logging import Logging
from prorl.config.profiles import Profiles
from prorl.files import write_json
from prorl.items.asking import profiles
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import run_stage
from prorl.tables import ITEMS, read_table, write_table


def body(params: Params, dataset: str) -> None:
    layout, settings = Layout(dataset), params.section(Profiles, dataset)
    items = read_table(layout.items, ITEMS)
    texts, counts = profiles(items, settings, layout.said, params.section(Logging).every_seconds)
    column = items.schema.get_field_index("text")
    written = items.set_column(column, "text", pa.array(texts, pa.string()))
    write_table(layout.texts("profiles"), written, ITEMS)
    write_json(layout.metrics("profiles"), counts)


if __name__ == "__main__":
    run_stage("profiles", body)
