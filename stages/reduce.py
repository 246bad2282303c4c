"""Embeddings to their principal components: `python stages/reduce.py <dataset>`."""

from prorl.config.reduce import Reduce
from prorl.files import atomic_folder
from prorl.items.matrices import read_matrix, write_rows
from prorl.items.reduction import fit_pca, save_pca
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Write the reduced vectors and the fitted PCA."""
    layout, settings = Layout(dataset), params.section(Reduce, dataset)
    embeddings = read_matrix(layout.embeddings, mapped_above=settings.mapped_above * 2**20)
    pca = fit_pca(embeddings, settings.dimension, settings.whiten)
    with atomic_folder(layout.reduced) as folder:
        shape = (len(embeddings), settings.dimension)
        write_rows(folder / layout.reduced_vectors.name, shape, pca.transformed(embeddings))
        save_pca(folder / layout.pca.name, pca)


if __name__ == "__main__":
    run_stage("reduce", body)
