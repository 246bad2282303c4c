"""All benchmarks, one after another, each in a process of its own.

python -m benchmarks [--slow] [--quick] [--results <folder>]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import RESULTS, ROOT

# Module -> whether it is slow: `make bench` runs the others, in a quarter of an hour or so on 2 cores, and
# `make bench-slow` the slow ones.
BENCHMARKS = {
    "rollouts_constrained": False,
    "rollouts_unconstrained": False,
    "rl_step": False,
    "pretraining": False,
    "muon": False,
    "precision": False,
    "step_rewards": False,
    "evaluation": False,
    "scaling": False,
    "serving": False,
    "cost": True,
    "gradient_noise": True,
    "quantize_quality": True,
    "prepare_scale": True,
    "reduce_scale": True,
    "simulator_training": True,
}


def main() -> None:
    """Run them all, also after one has failed; the exit status is 1 if any has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="the slow ones instead")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke size on tiny models; its times mean nothing"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the tables go")
    arguments = parser.parse_args()
    own = ["--quick"] * arguments.quick + ["--results", str(arguments.results)]
    failed = []
    for name, slow in BENCHMARKS.items():
        if slow == arguments.slow:
            print(f"\n{name}", flush=True)
            if subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}", *own], cwd=ROOT, check=False
            ).returncode:
                failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
