"""Principal components and semantic IDs of a catalogue whose vectors stay on disk: time and memory.

    python -m benchmarks.reduce_scale [--items 1000000] [--width 1024] [--quick] [--results <folder>]

The matrix of `items` x `width` is written part by part, then read by the library as the stages `reduce` and
`quantize` read it, in a process of its own each, with the settings of params.yaml for every data set. One
million vectors of 1,024 components take 4 GB of disk. Exit status 1 if a process takes more than 8 GiB.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, command_line, prepare, publish
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.files import read_json, write_json
from prorl.items.matrices import read_matrix, write_rows
from prorl.items.reduction import fit_pca
from prorl.params import read_params
from prorl.semantic_ids.quantisers import semantic_ids
from prorl.semantic_ids.statistics import code_statistics, quantised_error

TITLE = "Vectors that stay on disk"
MAX_GIB = 8
CHUNK = 16384
N_CLUSTERS = 2000


def write_vectors(path: Path, n: int, width: int) -> None:
    """Normalised vectors [n, width] around cluster centres, in a space of 128 directions."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((128, width), dtype=np.float32) / np.sqrt(width)
    centres = random.standard_normal((N_CLUSTERS, 128), dtype=np.float32)

    def parts():
        for start in range(0, n, CHUNK):
            size = min(CHUNK, n - start)
            latent = centres[random.integers(N_CLUSTERS, size=size)]
            latent = latent + 0.5 * random.standard_normal((size, 128), dtype=np.float32)
            vectors = latent @ directions
            vectors += 0.002 * random.standard_normal((size, width), dtype=np.float32)
            yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    write_rows(path, (n, width), parts())


def reduce(folder: Path) -> dict[str, float]:
    """As the stage does for embeddings alone, whitened."""
    params = read_params()
    settings = params.section(Reduce, params.datasets[0])
    vectors = read_matrix(folder / "embeddings.npy", mapped_above=settings.mapped_above * 2**20)
    pca = fit_pca(vectors, settings.dimension, whiten=True)
    write_rows(folder / "reduced.npy", (len(vectors), settings.dimension), pca.transformed(vectors))
    return {}


def quantize(folder: Path) -> dict[str, float]:
    """As the stage does, with three codebooks and the last code, but for statistics of attributes."""
    params = read_params()
    settings = params.section(Quantize, params.datasets[0]).replace(n_codebooks=3, expand_final=True)
    reduced = read_matrix(folder / "reduced.npy")
    many = len(reduced) > settings.minibatch_above
    vectors = read_matrix(folder / "reduced.npy", mapped_above=0 if many else None)
    del reduced
    raw_ids = [str(item) for item in range(len(vectors))]
    codes, quantised = semantic_ids(vectors, raw_ids, settings, params.seed)
    assert quantised is not None
    statistics = code_statistics(codes[:, : settings.n_codebooks])
    return {
        "error": float(quantised_error(vectors, quantised) or 0),
        "perplexity": statistics["level_1"]["perplexity"],
        "distinct": statistics["distinct_share"],
    }


STEPS = {"reduce": reduce, "quantize": quantize}


def run_step(step: str, folder: Path) -> None:
    """Run one step and leave its seconds, peak memory and results in `folder`."""
    started = time.perf_counter()
    found = STEPS[step](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    write_json(folder / f"{step}.json", {"seconds": time.perf_counter() - started, "gib": peak, **found})


def main() -> None:
    """One line per step."""
    parser = command_line(TITLE)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where the matrix goes; a temporary folder otherwise")
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    n, width = (2000, 64) if options.quick else (arguments.items, arguments.width)
    lines = ["| vectors | step | seconds | peak memory | error | perplexity 1 | distinct |", "|---" * 7 + "|"]
    print("\n".join(lines))
    largest = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_vectors(folder / "embeddings.npy", n, width)
        for step in STEPS:
            code = f"from benchmarks.reduce_scale import *; run_step({step!r}, Path({temporary!r}))"
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
            found = read_json(folder / f"{step}.json")
            largest = max(largest, found["gib"])
            quality = [
                f"{found[name]:.3f}" if name in found else "" for name in ("error", "perplexity", "distinct")
            ]
            cells = [
                f"{n:,} x {width:,}",
                step,
                f"{found['seconds']:.0f}",
                f"{found['gib']:.2f} GiB",
                *quality,
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    publish(TITLE, lines, options)
    if largest > MAX_GIB:
        sys.exit(f"more than {MAX_GIB} GiB")


if __name__ == "__main__":
    main()
