"""Step rewards of rollouts, against RecBole's `full_sort_predict` on every prefix, padded to 50.

    python -m benchmarks.step_rewards [--quick] [--results <folder>]

The paths are rollouts of the trained policy, cut at random, so that the simulator reads real paths of every
mean length.
"""

from collections.abc import Iterator

import torch

from benchmarks.harness import Case, Claim, Disagreement, Options, main
from benchmarks.models import Models, models
from benchmarks.recbole_scores import recbole_model, score_prefixes
from prorl.policy.decoding import keyed_uniforms, rollouts
from prorl.rl.rewards import StepRewards, rewards_with, step_rewards

CLAIM = Claim("Step rewards", cpu=20, gpu=10)
MEAN_LENGTHS = (2, 3.5, 10)
MAX_LENGTH = 10
TOLERANCE = 1e-3
MOVED = 1e-3  # share of steps at which IoR may differ, by items that score alike but for rounding


def cases(options: Options) -> Iterator[Case]:
    """128 prompts x 16 paths for each mean length."""
    setting = models(options.quick, options.device).with_rules(min_length=MAX_LENGTH, max_length=MAX_LENGTH)
    n_prompts, n_rollouts = (8, 2) if options.quick else (128, 16)
    history, target = setting.prompts(n_prompts)
    longest = full_paths(setting, history, target, n_rollouts)
    recbole, names = recbole_model(setting.simulator), rewards_with({})
    for mean in MEAN_LENGTHS:
        items = cut(longest, mean)
        yield Case(
            f"{n_prompts} x {n_rollouts} paths of mean length {(items != 0).sum(-1).double().mean():.1f}",
            lambda items=items: step_rewards(
                setting.rated(items, target, setting.simulator.score(history, items, target)), names
            ),
            {
                "RecBole, prefix by prefix": lambda items=items: step_rewards(
                    setting.rated(items, target, score_prefixes(recbole, history, items, target)), names
                )
            },
            check,
            "steps",
            lambda rewards: int(rewards.real.sum()),
        )


def full_paths(setting: Models, history: torch.Tensor, target: torch.Tensor, n_rollouts: int) -> torch.Tensor:
    """`n_rollouts` paths [b, m, t] of the longest length for each prompt."""
    uniforms = keyed_uniforms(
        0, torch.arange(len(history), device=history.device), n_rollouts, setting.catalogue.n_tokens
    )
    return rollouts(setting.policy, setting.catalogue, history, target, uniforms).items


def cut(items: torch.Tensor, mean: float) -> torch.Tensor:
    """Paths [b, m, t] cut as if each stopped with the same probability after every item.

    `mean` items are left on average; all where it is t.
    """
    b, m, t = items.shape
    if mean == t:
        return items
    length = (
        torch.empty(b, m, 1).geometric_(1 / mean, generator=torch.Generator().manual_seed(0)).to(items.device)
    )
    return items * (torch.arange(t, device=items.device) < length)


def check(ours: StepRewards, others: dict[str, StepRewards]) -> str:
    """Equal IoI and CTR within `TOLERANCE`, and IoR but for a share of `MOVED`."""
    (theirs,) = others.values()
    worst = max((ours.values[name] - theirs.values[name]).abs().max().item() for name in ("ioi", "ctr"))
    moved = ((ours.values["ior"] != theirs.values["ior"]).sum() / ours.real.sum()).item()
    if not (worst <= TOLERANCE and moved <= MOVED):
        raise Disagreement(
            f"IoI or CTR differ by {worst:.2g}, allowed {TOLERANCE:g}; "
            f"IoR at {moved:.2%} of steps, allowed {MOVED:.2%}"
        )
    return f"IoI and CTR agree within {worst:.1g}, IoR is the same at {1 - moved:.3%} of the steps"


if __name__ == "__main__":
    main(CLAIM, cases)
