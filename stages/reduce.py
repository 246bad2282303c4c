"""Embeddings to their principal components, a simulator's item vectors beside them.

`python stages/reduce.py <dataset>`
"""

import numpy as np
import torch

from prorl.config.reduce import Reduce
from prorl.files import atomic_folder
from prorl.items.collaborative import beside, require_vectors
from prorl.items.matrices import read_matrix, write_rows
from prorl.items.reduction import fit_pca, save_pca
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import run_stage
from prorl.simulators.protocol import vectors_of
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator


def body(params: Params, dataset: str) -> None:
    """Write the reduced vectors, those of a simulator beside them where they are asked for, and the fitted
    PCA.
    """
    layout, settings = Layout(dataset), params.section(Reduce, dataset)
    embeddings = read_matrix(layout.embeddings, mapped_above=settings.mapped_above * 2**20)
    pca = fit_pca(embeddings, settings.dimension, settings.whiten)
    reduced, width = pca.transformed(embeddings), settings.dimension
    if settings.collaborative:
        vectors = item_vectors(params, dataset, settings.simulator)
        require_vectors(vectors, len(embeddings), settings.simulator)
        reduced = beside(embeddings, pca, vectors, settings.collaborative)
        width += vectors.shape[1]
    with atomic_folder(layout.reduced) as folder:
        write_rows(folder / layout.reduced_vectors.name, (len(embeddings), width), reduced)
        save_pca(folder / layout.pca.name, pca)


def item_vectors(params: Params, dataset: str, name: str) -> np.ndarray:
    """The item vectors [n, h] of the simulator `name`, float32."""
    folder, kind = Layout(dataset).simulator(name), own_class(params, dataset, name)
    simulator = load_simulator(folder, kind, torch.device("cpu"))
    needed_by = f"{params.source}: reduce.simulator, which reduce.collaborative: 0 does without"
    return vectors_of(simulator, name, needed_by)[1:].detach().float().cpu().numpy()


if __name__ == "__main__":
    run_stage("reduce", body)
