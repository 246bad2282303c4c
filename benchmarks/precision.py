"""bf16 autocast against float32: greedy paths of a trained policy, their IoI, and their time.

    python -m benchmarks.precision [--policy prorl] [--quick] [--results <folder>]

The prompts are those of validation.
"""

import torch

from benchmarks.harness import command_line, measure, prepare, publish
from benchmarks.models import models
from prorl.evaluation.judge import greedy_paths
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts

TITLE = "bf16 and float32"
BATCH_SIZE = 256


def main() -> None:
    """One line per precision, and the share of prompts whose paths agree."""
    parser = command_line(TITLE)
    parser.add_argument("--policy", default="prorl", help="one of models/policies/ml-100k")
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    setting = models(options.quick, options.device, arguments.policy)
    number = torch.arange(len(setting.target), device=setting.target.device)
    prompts = Prompts(number, torch.ones_like(number), setting.history, setting.target)

    def decode(precision: str) -> torch.Tensor:
        guide = PolicyGuide(setting.policy, setting.catalogue, precision)
        return greedy_paths(guide, prompts, setting.catalogue.decoding.max_length, BATCH_SIZE)

    measured = measure(
        {precision: lambda precision=precision: decode(precision) for precision in ("float32", "bf16")},
        options,
    )
    lines = ["| precision | mean IoI | greedy paths | median |", "|---|---|---|---|"]
    for name, one in measured.items():
        scores = setting.simulator.score(setting.history, one.result[:, None], setting.target, ends=True)
        ioi = (scores.log_prob[..., 1] - scores.log_prob[..., 0]).double().mean().item()
        lines.append(f"| {name} | {ioi:.4f} | {len(prompts)} | {one.median:.2f} s |")
    print("\n".join(lines))
    same = (measured["float32"].result == measured["bf16"].result).all(1).double().mean().item()
    publish(TITLE, [*lines, "", f"The same path for {100 * same:.1f}% of the prompts."], options)


if __name__ == "__main__":
    main()
