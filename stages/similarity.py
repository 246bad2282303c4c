"""Verdicts by item vectors on which item may follow which: `python stages/similarity.py <dataset>`."""

from prorl.config.similarity import Similarity
from prorl.errors import DataError
from prorl.files import write_json
from prorl.items.matrices import read_matrix
from prorl.items.similarity import cosines, least_cosine
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.paths.verdicts import agreement, occurring_pairs, share_attribute, verdict_table
from prorl.runtime import derived_seed, run_stage
from prorl.tables import INTERACTIONS, ITEMS, VERDICTS, read_table, write_table


def body(params: Params, dataset: str) -> None:
    layout, settings = Layout(dataset), params.section(Similarity, dataset)
    items, vectors = read_table(layout.items, ITEMS), read_matrix(layout.embeddings)
    if len(vectors) != items.num_rows:
        raise DataError(
            f"{layout.embeddings}: {len(vectors)} vectors, allowed: {items.num_rows}, one per item"
        )
    pairs = occurring_pairs(user_sequences(read_table(layout.interactions, INTERACTIONS)))
    least = least_cosine(vectors, settings, derived_seed(params.seed, "similarity", dataset))
    score = cosines(vectors, pairs)
    feasible = score >= least
    by_attributes = share_attribute(attribute_words(items["attributes"], ignored=[]), pairs)
    write_table(layout.verdicts("similarity"), verdict_table(pairs, score, feasible), VERDICTS)
    report = {"pairs": len(pairs), "least_cosine": least, **agreement(feasible, by_attributes)}
    write_json(layout.metrics("similarity"), report)


if __name__ == "__main__":
    run_stage("similarity", body)
