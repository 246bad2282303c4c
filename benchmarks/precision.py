"""float32 against bf16 autocast: greedy paths of a trained policy on the validation prompts, their IoI, and the time they take.

    python benchmarks/precision.py [dataset] [policy]

Needs the models of `make repro`.
"""

import sys
import time
from pathlib import Path

import torch

from prorl.evaluation.prompts import JudgedPrompts, greedy_paths
from prorl.metrics.judging import simulated_metrics
from prorl.params import read_params
from prorl.policy.checkpoints import load_policy
from prorl.policy.decoding import PolicyGuide
from prorl.runtime import keep_freed_memory
from prorl.simulators.scoring import load_simulator
from prorl.tables import read_instances

BATCH_SIZE = 256


def main(dataset: str = "ml-100k", policy_name: str = "prorl") -> None:
    """Print one line per precision, and the share of prompts whose paths agree."""
    keep_freed_memory()
    params = read_params()
    decoding = params.section("decoding")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    policy, catalogue = load_policy(Path("models/policies") / dataset / policy_name, decoding)
    guide = PolicyGuide(policy.to(device).eval(), catalogue.to(device))
    simulator = load_simulator(Path("models/simulators") / dataset / params.section("finetune", dataset).simulator).to(device)
    prompts = JudgedPrompts.of(read_instances(Path("data/instances") / dataset / "validation.parquet"), device)
    paths = {}
    for precision in ("float32", "bf16"):
        seconds = []
        for _ in range(3):  # the first warms up
            start = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                paths[precision] = greedy_paths(guide, prompts, decoding.max_length, BATCH_SIZE)
            seconds.append(time.perf_counter() - start)
        ioi = simulated_metrics(simulator, prompts.history, prompts.target, paths[precision][:, None], BATCH_SIZE)["ioi"].mean()
        print(f"{precision:8} IoI {ioi:.4f}, {len(prompts)} greedy paths in {min(seconds[1:]):.2f} s")
    same = (paths["float32"] == paths["bf16"]).all(1).double().mean().item()
    print(f"the same path for {100 * same:.1f}% of the prompts")


if __name__ == "__main__":
    main(*sys.argv[1:])
