"""Item profile text to vectors: `[accelerate launch] stages/embed.py <dataset>`."""

import shutil

from prorl.config.embed import Embed
from prorl.config.logging import Logging
from prorl.items.embedding import embed
from prorl.items.matrices import write_matrix
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import run_stage
from prorl.tables import ITEMS, read_table


def body(params: Params, dataset: str) -> None:
    """Write one vector per item, in item order."""
    layout, settings = Layout(dataset), params.section(Embed, dataset)
    items = read_table(layout.texts(settings.texts), ITEMS)
    texts, raw_ids = items["text"].to_pylist(), items["raw_id"].to_pylist()
    checkpoints = layout.checkpoints("embed")
    vectors = embed(
        texts,
        raw_ids,
        settings,
        params.seed,
        checkpoints,
        params.section(Logging).every_seconds,
    )
    if vectors is not None:
        write_matrix(layout.embeddings, vectors)
        shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    run_stage("embed", body)
