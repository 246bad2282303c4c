"""A real language model as a guide, on a sample of validation prompts of a finished run: `python -m
tools.llm_ipp`, which `make llm-ipp` runs.

For each data set of params.yaml it asks the model of `guide.llm_ipp` and writes, judged by every simulator,
`reports/benchmark/<dataset>/llm_ipp.json`: the settings, what became of the answers, the mean of each metric,
the same of the most popular items alone, by which short answers are lengthened, and a few paths. How long it
took is printed.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.guide import Guide
from prorl.config.section import ConfigError
from prorl.devices import own_device
from prorl.errors import DataError
from prorl.evaluation.judge import Judge
from prorl.files import write_json
from prorl.guide import GuideContext
from prorl.guides.data import guide_data
from prorl.guides.llm_ipp import LLMGuide
from prorl.guides.popular import PopularGuide
from prorl.guides.registry import build_guides
from prorl.layout import Layout
from prorl.params import Params, read_params
from prorl.paths.mining import attribute_words
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.tables import ITEMS, read_table

NAME = "llm_ipp"
RESULTS = Path("reports/benchmark")
EXAMPLES = 4


def run(params: Params, dataset: str, n_prompts: int) -> dict[str, Any]:
    """What is written for `dataset`, of `n_prompts` validation prompts drawn by the run's seed."""
    layout, device = Layout(dataset), own_device()
    classes = {name: own_class(params, dataset, name) for name in params.simulators}
    simulators = {name: load_simulator(layout.simulator(name), own, device) for name, own in classes.items()}
    words = attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[])
    decoding, data = params.section(Decoding), guide_data(layout)
    context = GuideContext(
        simulators, decoding, words, data, device, "float32", params.seed, params.source, layout.guides
    )
    guide = build_guides([NAME], params.section(Guide), context)[NAME]
    if not isinstance(guide, LLMGuide):
        raise ConfigError(f"{params.source}: guide.{NAME}.kind: allowed: {NAME}, or none")
    prompts = Prompts.of(data.validation, device).sample(
        n_prompts, derived_seed(params.seed, NAME, "prompts")
    )
    rows = progress(range(len(prompts)), description=NAME, unit="prompt", every_seconds=15)
    started = time.perf_counter()
    found = [guide.answered(prompts[row : row + 1]) for row in rows]
    print(f"{NAME}: {(time.perf_counter() - started) / len(prompts):.1f} seconds a prompt", file=sys.stderr)
    evaluate = params.section(Evaluate, dataset)
    judge = Judge(
        prompts,
        simulators,
        words,
        decoding.max_length,
        evaluate.diversity_pairs,
        evaluate.batch_size,
        derived_seed(params.seed, NAME, "judge"),
    )
    popular = PopularGuide(guide.popular, decoding).paths(prompts)
    counts = sum((counts for _, counts in found), start=type(found[0][1])())
    titles = data.titles
    shown = [[titles[item - 1] for item in path[0].tolist() if item] for path, _ in found[:EXAMPLES]]
    examples = [
        {"target": titles[int(prompts.target[row]) - 1], "path": path} for row, path in enumerate(shown)
    ]
    return {
        "split": "validation",
        "prompts": len(prompts),
        "decoding": decoding.as_json(),
        "settings": guide.settings.as_json(),
        "answers": asdict(counts),
        "metrics": means(judge, torch.cat([path for path, _ in found])),
        "popular": means(judge, popular),
        "examples": examples,
    }


def means(judge: Judge, paths: torch.Tensor) -> dict[str, dict[str, float]]:
    """{simulator: {metric: mean}} of `paths` [p, t], one of each of the judge's prompts."""
    return {
        name: {metric: float(np.mean(values)) for metric, values in own.items()}
        for name, own in judge.metrics(paths).items()
    }


def main(arguments: list[str]) -> None:
    """Write the results of every data set."""
    parser = argparse.ArgumentParser(prog=NAME, description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--prompts", type=int, default=32, help="validation prompts; 32 if left out")
    n_prompts = parser.parse_args(arguments).prompts
    if n_prompts < 1:
        raise ConfigError(f"--prompts: got {n_prompts}, allowed: at least 1")
    params = read_params()
    for dataset in params.datasets:
        path = RESULTS / dataset / f"{NAME}.json"
        write_json(path, run(params, dataset, n_prompts))
        print(f"{NAME}: {path}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ConfigError, DataError) as failure:
        sys.exit(f"{NAME}: {failure}")
