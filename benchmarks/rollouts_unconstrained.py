"""Rollouts in which any token may follow any, against `T5ForConditionalGeneration.generate(do_sample)`.

python -m benchmarks.rollouts_unconstrained [--quick] [--results <folder>]
"""

from benchmarks.harness import Claim, main
from benchmarks.rollouts import unconstrained_cases

CLAIM = Claim("Rollouts, unconstrained: 128 prompts x 16 paths", cpu=3, gpu=8)

if __name__ == "__main__":
    main(CLAIM, unconstrained_cases)
