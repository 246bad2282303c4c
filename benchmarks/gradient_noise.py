"""How much of a step's policy gradient is signal, by how its paths are shared out among prompts.

    python -m benchmarks.gradient_noise [--dataset ml-1m] [--steps 12] [--quick] [--results <folder>]

All shapes sample as many paths a step, from the pre-trained policy, which stays as it is; the KL takes no
part. With gradients g of so many steps, signal to noise is |E g|^2 / tr Cov g, where |E g|^2 is estimated
without bias, |mean|^2 - tr Cov / steps. Many rollouts of a prompt have a good baseline, and say all the same
of one prompt. Prompts are those of validation. The models of a preset lie in its worktree, `.presets/ml-1m`,
and are measured from there.
"""

import copy
import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.agreement import KeptGradient
from benchmarks.harness import command_line, prepare, publish
from benchmarks.models import DATASET, Models, accelerator_of, models
from prorl.config.finetune import Finetune
from prorl.params import read_params
from prorl.rl.learner import Learner
from prorl.rl.step import take_step

TITLE = "Noise of the policy gradient"
SHAPES = ((64, 16), (128, 8), (256, 4), (512, 2))  # prompts, rollouts of each
CENTERING_STEPS = 2
SEED = 1


@dataclass(frozen=True)
class Noise:
    """signal: |E g|^2; noise: tr Cov g; seconds: the median of a step."""

    signal: float
    noise: float
    seconds: float

    @classmethod
    def of(cls, gradients: torch.Tensor, seconds: list[float]) -> "Noise":
        """From the gradients [s, w] of `s` steps, 2 at least."""
        gradients = gradients.double()
        noise = gradients.var(0).sum().item()
        signal = gradients.mean(0).square().sum().item() - noise / len(gradients)
        return cls(signal, noise, statistics.median(seconds))

    @property
    def ratio(self) -> float:
        """Signal to noise of a step."""
        return self.signal / self.noise


def main() -> None:
    """One line per shape."""
    parser = command_line(TITLE)
    parser.add_argument("--dataset", default=DATASET, help="whose policy and simulator `make repro` has made")
    parser.add_argument("--steps", type=int, default=12, help="gradients that are taken of each shape")
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error(f"--steps: got {arguments.steps}, allowed: at least 2")
    options = prepare(TITLE, arguments)
    setting = models(options.quick, options.device, dataset=arguments.dataset)
    settings = read_params().section(Finetune, arguments.dataset)
    shapes = [(prompts // 16, rollouts) for prompts, rollouts in SHAPES] if options.quick else SHAPES
    found = {shape: noise_of(setting, settings, shape, arguments.steps) for shape in shapes}
    first = found[shapes[0]]
    lines = [
        "| prompts x rollouts | signal to noise of a step | median | per second, times the first |",
        "|---|---|---|---|",
    ]
    for (prompts, rollouts), one in found.items():
        per_second = one.ratio / one.seconds / (first.ratio / first.seconds)
        lines.append(f"| {prompts} x {rollouts} | {one.ratio:.3f} | {one.seconds:.2f} s | {per_second:.2f} |")
    print("\n".join(lines))
    of = [f"estimator `{settings.estimator}`", f"temperature {settings.temperature:g}", arguments.dataset]
    told = [] if setting.catalogue.acceptance is None else [f"told {setting.catalogue.acceptance:g}"]
    publish(TITLE, [*lines, "", ", ".join([*of, *told, f"{arguments.steps} steps each"])], options)


def noise_of(setting: Models, settings: Finetune, shape: tuple[int, int], n_steps: int) -> Noise:
    """The noise of `n_steps` steps of `shape`, prompts and rollouts of each, on other prompts each."""
    prompts, rollouts = shape
    kl = settings.kl.model_copy(update={"coefficient": 0.0, "target": None})
    settings = settings.replace(prompts_per_step=prompts, n_rollouts=rollouts, kl=kl, gradient_clip=1e12)
    policy = copy.deepcopy(setting.policy)
    words = setting.attribute_words.cpu().numpy()
    learner = Learner.of(
        accelerator_of("float32"), policy, setting.catalogue, setting.simulator, words, settings, SEED
    )
    learner.optimizer = kept = KeptGradient(policy)
    gradients, seconds = [], []
    for step in range(CENTERING_STEPS + n_steps):
        started = time.perf_counter()
        take_step(
            learner, setting.numbered_prompts(prompts, seed=step), centering=step < CENTERING_STEPS, seed=step
        )
        if step >= CENTERING_STEPS:
            gradients.append(kept.gradient.clone())
            seconds.append(time.perf_counter() - started)
    return Noise.of(torch.stack(gradients), seconds)


if __name__ == "__main__":
    main()
