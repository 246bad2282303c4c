"""bf16 autocast against float32: greedy paths of a trained policy, their IoI, and their time.

    python -m benchmarks.precision [--policy prorl] [--quick] [--results <folder>]

The prompts are those of validation.
"""

import torch

from benchmarks.harness import command_line, measure, prepare, publish
from benchmarks.models import models
from prorl.evaluation.prompts import JudgedPrompts, greedy_paths
from prorl.metrics.judging import simulated_metrics
from prorl.policy.decoding import PolicyGuide

TITLE = "bf16 and float32"
BATCH_SIZE = 256


def main() -> None:
    """One line per precision, and the share of prompts whose paths agree."""
    parser = command_line(TITLE)
    parser.add_argument("--policy", default="prorl", help="one of models/policies/ml-100k")
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    setting = models(options.quick, options.device, arguments.policy)
    prompts = JudgedPrompts(torch.zeros_like(setting.target).cpu().numpy(), setting.history, setting.target)

    def decode(precision: str) -> torch.Tensor:
        guide = PolicyGuide(setting.policy, setting.catalogue, precision)
        return greedy_paths(guide, prompts, setting.catalogue.decoding.max_length, BATCH_SIZE)

    measured = measure(
        {precision: lambda precision=precision: decode(precision) for precision in ("float32", "bf16")},
        options,
    )
    lines = ["| precision | mean IoI | greedy paths | median |", "|---|---|---|---|"]
    for name, one in measured.items():
        ioi = simulated_metrics(
            setting.simulator, setting.history, setting.target, one.result[:, None], BATCH_SIZE
        )["ioi"].mean()
        lines.append(f"| {name} | {ioi:.4f} | {len(prompts)} | {one.median:.2f} s |")
    print("\n".join(lines))
    same = (measured["float32"].result == measured["bf16"].result).all(1).double().mean().item()
    publish(TITLE, [*lines, "", f"The same path for {100 * same:.1f}% of the prompts."], options)


if __name__ == "__main__":
    main()
