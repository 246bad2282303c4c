"""Reduced vectors to semantic IDs: `python stages/quantize.py <dataset>`."""

from safetensors.numpy import save_file

from prorl.config.embed import Embed
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.files import atomic_folder, write_json
from prorl.items.matrices import read_matrix
from prorl.layout import IDS_FILE, Layout
from prorl.params import Params
from prorl.runtime import run_stage
from prorl.semantic_ids.quantisers import provenance, semantic_ids
from prorl.semantic_ids.statistics import semantic_id_statistics
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import ITEMS, read_table


def body(params: Params, dataset: str) -> None:
    """Write semantic IDs, codebooks and what they are worth."""
    layout = Layout(dataset)
    embedding, reduction = params.section(Embed, dataset), params.section(Reduce, dataset)
    settings = params.section(Quantize, dataset)
    items = read_table(layout.items, ITEMS)
    many = items.num_rows > settings.minibatch_above
    vectors = read_matrix(layout.reduced_vectors, mapped_above=0 if many else None)
    codes, quantised = semantic_ids(vectors, items["raw_id"].to_pylist(), settings, params.seed)
    report = semantic_id_statistics(
        codes[:, : settings.n_codebooks], items["attributes"].to_pylist(), vectors, quantised, params.seed
    )
    report |= provenance(embedding, reduction, settings)
    with atomic_folder(layout.semantic_ids) as folder:
        write_semantic_ids(folder / IDS_FILE, codes, Vocabulary(codes.shape[1], settings.codebook_size))
        if quantised is not None:
            save_file(quantised.tensors, folder / "codebooks.safetensors")
    write_json(layout.metrics("quantize"), report)


if __name__ == "__main__":
    run_stage("quantize", body)
