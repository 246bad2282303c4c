"""Intents of ITMPRec, see `prorl.guides.ipg`: clusters of the states of training users.

Shape key: `s` states, `d` components of a state, `i` intents.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from prorl.config.proactive import IPGSettings
from prorl.guide import GuideContext
from prorl.guides.ipg import INTENTS_FILE, steering
from prorl.runtime import derived_seed
from prorl.simulators.protocol import BranchingSimulator
from prorl.simulators.windows import of_users, windows

ITEMS_READ = 20  # of each window of a log


def fit_intents(settings: IPGSettings, context: GuideContext) -> dict[str, Any]:
    """Cluster the states after each item of training users' logs, and write the centroids into the context's
    folder.

    Gives the number of states, and the mean squared distance to a state's centroid.
    """
    states = training_states(steering(settings, context), context)
    n_clusters = min(settings.intents, len(np.unique(states, axis=0)))
    with threadpool_limits(1):  # k-means adds up in the order in which threads finish
        seed = derived_seed(context.seed, "intents")
        kmeans = KMeans(n_clusters, n_init=1, random_state=seed).fit(states)  # pyright: ignore[reportArgumentType]
    save_centroids(context.folder, kmeans.cluster_centers_)
    return {"states": len(states), "mean_squared_distance": cast(float, kmeans.inertia_) / len(states)}


def save_centroids(folder: Path, centroids: np.ndarray) -> None:
    """Write centroids [i, d] where `IPGGuide.build` reads them."""
    save_file({"centroids": torch.from_numpy(np.ascontiguousarray(centroids))}, folder / INTENTS_FILE)


@torch.no_grad()
def training_states(simulator: BranchingSimulator, context: GuideContext) -> np.ndarray:
    """States [s, d] of `simulator` after every item of training users' logs but the last, read in windows."""
    generator = np.random.default_rng(derived_seed(context.seed, "intents", "windows"))
    sequences = of_users(context.data.sequences, context.data.train_users)
    found = []
    for part in windows(sequences, ITEMS_READ, generator).split(256):
        states, _ = simulator.model.extend(part[:, :-1].to(simulator.vectors.device))
        found.append(states[part[:, 1:] != 0].cpu().numpy())
    return np.concatenate(found)
