"""Codebooks of clustered vectors at the size of a language model's.

    python -m benchmarks.quantize_quality [--items 5000 100000] [--quick] [--results <folder>]

Vectors of 4,096 components, normalised, lie around subclusters of clusters whose sizes fall off as 1 / rank,
as the genres of a catalogue do. They are reduced, whitened, and quantised as params.yaml says for every data
set, by each quantiser, with the last code by nearness alone and balanced. Exit status 1 if the setting of
params.yaml misses a target: level-1 perplexity of at least 150 of 256, distinct codes for at least 99% of
items.
"""

import sys
import time

import numpy as np

from benchmarks.harness import command_line, prepare, publish
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.items.reduction import fit_pca
from prorl.params import read_params
from prorl.semantic_ids.quantisers import QUANTISERS
from prorl.semantic_ids.statistics import code_statistics, reconstruction_error

TITLE = "Codebooks"
WIDTH = 4096
CLUSTERS, SUBCLUSTERS = 40, 20
MIN_PERPLEXITY, MIN_DISTINCT = 150, 0.99


def clustered_vectors(n: int, seed: int) -> np.ndarray:
    """Normalised vectors [n, WIDTH] in float32, in a space of 128 directions.

    Each is the sum of a cluster's centre, a subcluster's offset and the item's noise.
    """
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
    """One line per size, quantiser and way to assign the last code."""
    parser = command_line(TITLE)
    parser.add_argument("--items", type=int, nargs="+", default=[5_000, 100_000])
    parser.add_argument("--methods", nargs="+", choices=QUANTISERS, default=list(QUANTISERS))
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    params = read_params()
    reduce, quantize = (params.section(kind, params.datasets[0]) for kind in (Reduce, Quantize))
    missed = False
    levels = range(1, quantize.n_codebooks + 1)
    heads = [
        "items",
        "method",
        "last code",
        *(f"perplexity {level}" for level in levels),
        "distinct",
        "largest group",
        "error",
        "seconds",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    print("\n".join(lines))
    for n in [300] if options.quick else arguments.items:
        vectors = clustered_vectors(n, params.seed)
        reduced = fit_pca(vectors, reduce.dimension, whiten=True).transform(vectors)
        del vectors
        for method in arguments.methods:
            for balanced in (False, True):
                settings = quantize.replace(balanced=balanced)
                if options.quick:
                    settings = settings.replace(
                        n_restarts=1, codebook_size=16, rq_vae=quantize.rq_vae.replace(steps=20)
                    )
                started = time.perf_counter()
                quantised = QUANTISERS[method](reduced, settings, params.seed)
                seconds = time.perf_counter() - started
                statistics = code_statistics(quantised.codes)
                perplexities = [statistics[f"level_{level}"]["perplexity"] for level in levels]
                cells = [
                    f"{n:,}",
                    method,
                    "balanced" if balanced else "nearest",
                    *(f"{perplexity:.0f}" for perplexity in perplexities),
                    f"{statistics['distinct_share']:.4f}",
                    statistics["largest_group"],
                    f"{reconstruction_error(reduced, quantised.reconstruction):.3f}",
                    f"{seconds:.1f}",
                ]
                lines.append(f"| {' | '.join(map(str, cells))} |")
                print(lines[-1], flush=True)
                as_configured = (method, balanced) == (quantize.method, quantize.balanced)
                missed |= as_configured and (
                    perplexities[0] < MIN_PERPLEXITY or statistics["distinct_share"] < MIN_DISTINCT
                )
    publish(TITLE, lines, options)
    if missed and not options.quick:
        sys.exit("a target is missed")


if __name__ == "__main__":
    main()
