"""Embeddings to their principal components: `python stages/reduce.py <dataset>`."""

from pathlib import Path

from prorl.config.reduce import Reduce
from prorl.files import atomic_folder
from prorl.items.matrices import read_matrix, write_matrix
from prorl.items.reduction import fit_pca, save_pca
from prorl.params import Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Write the reduced vectors and the fitted PCA."""
    settings = params.section(Reduce, dataset)
    embeddings = read_matrix(Path("data/embeddings") / dataset / "embeddings.npy")
    pca = fit_pca(embeddings, settings.dimension, settings.whiten)
    with atomic_folder(Path("data/reduced") / dataset) as folder:
        write_matrix(folder / "reduced.npy", pca.transform(embeddings))
        save_pca(folder / "pca.safetensors", pca)


if __name__ == "__main__":
    run_stage("reduce", body)
