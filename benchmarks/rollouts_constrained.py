"""Rollouts under the rules of decoding, against Transformers' `generate`.

    python -m benchmarks.rollouts_constrained [--quick] [--results <folder>]

It is called as `T5ForConditionalGeneration.generate(do_sample, prefix_allowed_tokens_fn)`.
"""

from benchmarks.harness import Claim, main
from benchmarks.rollouts import constrained_cases

CLAIM = Claim("Rollouts, constrained: 128 prompts x 16 paths", cpu=10, gpu=20)

if __name__ == "__main__":
    main(CLAIM, constrained_cases)
