"""Codebooks of clustered vectors at the size of a language model's: `python benchmarks/quantize_quality.py [--items 5000 100000]`.

Vectors of 4,096 components, normalised, lie around subclusters of clusters whose sizes fall off as 1 / rank, as the genres of a
catalogue do. They are reduced and quantised as params.yaml says for every data set, by each quantiser, with the last code by
nearness alone and balanced. Exit status 1 if the setting of params.yaml misses a target: level-1 perplexity of at least 150 of
256, distinct codes for at least 99% of items.
"""

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from prorl.items.reduction import fit_pca
from prorl.params import read_params
from prorl.semantic_ids.quantisers import QUANTISERS
from prorl.semantic_ids.statistics import code_statistics, reconstruction_error

WIDTH = 4096
CLUSTERS, SUBCLUSTERS = 40, 20
MIN_PERPLEXITY, MIN_DISTINCT = 150, 0.99


def clustered_vectors(n: int, seed: int) -> np.ndarray:
    """Normalised vectors [n, WIDTH] in float32: cluster centre + subcluster offset + noise of the item, in a space of 128 directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(128, WIDTH)).astype(np.float32) / np.sqrt(WIDTH)
    shares = 1 / np.arange(1, CLUSTERS + 1)
    cluster = rng.choice(CLUSTERS, size=n, p=shares / shares.sum())
    subcluster = cluster * SUBCLUSTERS + rng.integers(SUBCLUSTERS, size=n)
    latent = rng.normal(size=(CLUSTERS, 128))[cluster]
    latent += 0.7 * rng.normal(size=(CLUSTERS * SUBCLUSTERS, 128))[subcluster]
    latent += 0.5 * rng.normal(size=(n, 128))
    vectors = latent.astype(np.float32) @ directions
    vectors += 0.002 * rng.standard_normal(size=vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    """Print one line per size, quantiser and way to assign the last code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, nargs="+", default=[5_000, 100_000])
    parser.add_argument("--methods", nargs="+", choices=QUANTISERS, default=list(QUANTISERS))
    arguments = parser.parse_args()
    params = read_params()
    reduce, quantize = (params.section(name, params.datasets[0]) for name in ("reduce", "quantize"))
    missed = False
    for n in arguments.items:
        vectors = clustered_vectors(n, params.seed)
        started = time.perf_counter()
        reduced = fit_pca(vectors, reduce.dimension, reduce.whiten).transform(vectors)
        print(f"{n} items: {WIDTH} to {reduce.dimension} components in {time.perf_counter() - started:.1f} s", flush=True)
        del vectors
        for method in arguments.methods:
            for balanced in (False, True):
                started = time.perf_counter()
                quantised = QUANTISERS[method](reduced, replace(quantize, balanced=balanced), params.seed)
                seconds = time.perf_counter() - started
                statistics = code_statistics(quantised.codes)
                perplexities = [statistics[f"level_{level + 1}"]["perplexity"] for level in range(quantize.n_codebooks)]
                print(
                    f"  {method:9} {'balanced' if balanced else 'nearest':8} perplexity {', '.join(f'{p:.0f}' for p in perplexities)}"
                    f"  distinct {statistics['distinct_share']:.4f}  largest group {statistics['largest_group']}"
                    f"  error {reconstruction_error(reduced, quantised.reconstruction):.3f}  {seconds:.1f} s",
                    flush=True,
                )
                as_configured = (method, balanced) == (quantize.method, quantize.balanced)
                missed |= as_configured and (perplexities[0] < MIN_PERPLEXITY or statistics["distinct_share"] < MIN_DISTINCT)
    sys.exit("a target is missed" if missed else 0)


if __name__ == "__main__":
    main()
