"""One step of the policy gradient: rollouts, rewards, loss of policy and reference, backward, optimiser.

    python -m benchmarks.rl_step [--quick] [--results <folder>]

The obvious version uses `generate(do_sample, prefix_allowed_tokens_fn)`, RecBole's `full_sort_predict` for
every prefix, and Transformers' forward on inputs repeated for each of the 16 paths of a prompt. Advantages
cost nothing, and are computed by the same functions. The learning rate is 0, so that every run starts from
the same weights. Rows are those of `benchmarks.rollouts`.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from benchmarks.agreement import KeptGradient, same_loss_and_gradient
from benchmarks.harness import Case, Claim, Disagreement, Options, main
from benchmarks.models import DATASET, Models, accelerator_of, models
from benchmarks.obvious import (
    AllowedTokens,
    PrefixTree,
    action_log_probs,
    allowed_mask,
    items_of_tokens,
    sampled_tokens,
    token_log_probs,
    transformers_policy,
    written_tokens,
)
from benchmarks.recbole_scores import recbole_model, score_prefixes
from benchmarks.rollouts import MEAN_LENGTHS, STANDARD_ERRORS
from prorl.config.finetune import Finetune
from prorl.params import read_params
from prorl.prompts import Prompts
from prorl.rl.advantages import acting, position_specific, reward_to_go
from prorl.rl.centering import Moments, centered, collected
from prorl.rl.estimators import new_estimator
from prorl.rl.learner import Learner
from prorl.rl.rewards import rewards_with, step_rewards
from prorl.rl.rollouts import draw
from prorl.rl.step import take_step
from prorl.t5.model import T5
from prorl.training import adamw, scale_learning_rate

CLAIM = Claim("One RL step: 64 prompts x 16 rollouts", cpu=8, gpu=15)
PATHS_PER_PASS = {"cpu": 64, "cuda": 1024}
CHECKED = 8  # prompts
SEED = 1


@dataclass(frozen=True)
class Problem:
    """The models, prompts, settings and frozen moments of a step.

    The reference is a little beside the policy, as after some steps.
    """

    setting: Models
    reference: T5
    prompts: Prompts
    settings: Finetune
    moments: dict[str, Moments]


def cases(options: Options) -> Iterator[Case]:
    """One case for each mean length; the shortest allowed is 1."""
    settings = (
        read_params()
        .section(Finetune, DATASET)
        .replace(
            prompts_per_step=64,
            n_rollouts=16,
            temperature=1.0,  # that of `generate`
            # As `obvious_step` computes them, whatever the project's defaults.
            estimator="position_specific",
            centering="averaged",
        )
    )
    if options.quick:
        settings = settings.replace(prompts_per_step=6, n_rollouts=4)
    base = models(options.quick, options.device).with_rules(min_length=1)
    for mean in MEAN_LENGTHS:
        setting = base.with_mean_length(mean)
        prompts = setting.numbered_prompts(settings.prompts_per_step)
        drawn = draw(
            setting.policy, setting.catalogue, prompts, settings.n_rollouts, settings.temperature, SEED
        )
        scores = setting.simulator.score(prompts.history, drawn.items, prompts.target)
        paths = setting.rated(drawn.items, prompts.target, scores)
        rewards = step_rewards(paths, rewards_with(settings.weights))
        yield _case(
            Problem(setting, beside(setting.policy), prompts, settings, collected(rewards)),
            f"mean length {mean:g}",
            options,
        )


def _case(problem: Problem, name: str, options: Options) -> Case:
    learner = learner_of(problem, "bf16")
    steps = {precision: obvious_step(problem, precision == "bf16") for precision in ("float32", "bf16")}

    def ours() -> dict[str, float]:
        torch.use_deterministic_algorithms(True, warn_only=options.device.type == "cuda")  # as in training
        row = take_step(learner, problem.prompts, centering=False, seed=SEED)
        torch.use_deterministic_algorithms(False)
        return {name: row[f"train/{name}"] for name in ("length", "stopped", "length_std")}

    def check(own: dict[str, float], others: dict[str, dict[str, float]]) -> str:
        allowed = STANDARD_ERRORS * own["length_std"] / len(problem.prompts) ** 0.5 + 1e-9
        for other in others.values():
            if not abs(own["length"] - other["length"]) <= allowed:
                raise Disagreement(
                    f"paths have {own['length']:.2f} and {other['length']:.2f} items, "
                    f"allowed: {allowed:.2f} apart"
                )
        return f"{own['length']:.2f} items on average; {check_gradients(problem)}"

    paths = len(problem.prompts) * problem.settings.n_rollouts
    k = problem.setting.catalogue.n_levels
    return Case(
        name,
        ours,
        {f"Transformers and RecBole in {precision}": step for precision, step in steps.items()},
        check,
        "tokens",
        lambda result: paths * (result["length"] * k + result["stopped"]),
    )


@torch.no_grad()
def beside(policy: T5, share: float = 0.02) -> T5:
    """A copy of `policy` with every weight changed at random by about `share` of itself."""
    other = copy.deepcopy(policy).requires_grad_(False)
    torch.manual_seed(SEED)
    for weight in other.parameters():
        weight *= 1 + share * torch.randn_like(weight)
    return other


def learner_of(problem: Problem, precision: str) -> Learner:
    """A learner on a copy of the policy."""
    run, setting, settings = accelerator_of(precision), problem.setting, problem.settings
    moments = {setting.catalogue.acceptance: problem.moments}
    policy = copy.deepcopy(setting.policy)
    optimizer = adamw(policy, settings.learning_rate, settings.weight_decay)
    scale_learning_rate(optimizer, 0.0)
    return Learner(
        run, policy, optimizer, problem.reference, setting.catalogue, setting.simulator,
        setting.attribute_words, settings, None, settings.weights, moments,
        settings.kl.coefficient, new_estimator(settings, policy.sizes.d_model, SEED, run.device),
    )  # fmt: skip


def obvious_step(
    problem: Problem, bf16: bool, kept: list[KeptGradient] | None = None, paths: torch.Tensor | None = None
) -> Callable[[], dict[str, float]]:
    """A function that takes the step, on `paths` [b, m, t] if given; `kept` receives the gradient."""
    setting, settings, catalogue = problem.setting, problem.settings, problem.setting.catalogue
    history, target, m = problem.prompts.history, problem.prompts.target, problem.settings.n_rollouts
    device, max_length = target.device, catalogue.decoding.max_length
    policy = transformers_policy(setting.policy, catalogue)
    reference = transformers_policy(problem.reference, catalogue).requires_grad_(False)
    simulator, tree = recbole_model(setting.simulator), PrefixTree(catalogue)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0, weight_decay=settings.weight_decay)
    if kept is not None:
        optimizer = KeptGradient(policy)
        kept.append(optimizer)

    def step() -> dict[str, float]:
        torch.manual_seed(SEED)
        allowed = AllowedTokens(tree, catalogue, history, target, m)
        items = paths
        if items is None:
            with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                tokens = sampled_tokens(
                    policy, catalogue, history, target, m, prefix_allowed_tokens_fn=allowed
                )
            items = items_of_tokens(tree, catalogue, tokens, m)
        length = (items != 0).sum(-1)
        scores = score_prefixes(simulator, history, items, target)
        rewards = step_rewards(setting.rated(items, target, scores), rewards_with(settings.weights))
        values = centered(rewards, problem.moments, settings.weights, max_length, averaged_alone=True)
        advantages = position_specific(
            reward_to_go(values, settings.gamma), acting(length, max_length)
        ).flatten(0, 1)
        labels = written_tokens(catalogue, items)
        prompt_tokens = catalogue.prompt_tokens(history, target).repeat_interleave(m, dim=0)
        total = 0.0
        for rows in torch.arange(len(labels), device=device).split(PATHS_PER_PASS[device.type]):
            mask = allowed_mask(allowed, labels[rows], int(rows[0]), policy.config.vocab_size)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                log_probs = token_log_probs(policy, prompt_tokens[rows], labels[rows], mask)
                with torch.no_grad():
                    before = token_log_probs(reference, prompt_tokens[rows], labels[rows], mask)
            of_actions = action_log_probs(log_probs, labels[rows], catalogue.n_levels, advantages.shape[1])
            divergence = (log_probs.exp() * (log_probs - before)).sum(-1)[labels[rows] != -100].sum()
            loss = (settings.kl.coefficient * divergence - (advantages[rows] * of_actions).sum()) / len(
                labels
            )
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        mean = length.double().mean().item()
        return {"length": mean, "stopped": (length < max_length).double().mean().item(), "loss": total}

    return step


def check_gradients(problem: Problem) -> str:
    """Both steps in float32 on the same paths of some prompts.

    Raises `Disagreement` where loss or gradient differ.
    """
    some = replace(
        problem, prompts=problem.prompts[:CHECKED], settings=problem.settings.replace(gradient_clip=1e9)
    )
    learner, kept = learner_of(some, "float32"), []
    optimizer = learner.optimizer = KeptGradient(learner.policy)
    paths = draw(
        learner.policy,
        learner.catalogue,
        some.prompts,
        some.settings.n_rollouts,
        some.settings.temperature,
        SEED,
    )
    row = take_step(learner, some.prompts, centering=False, seed=SEED)
    theirs = obvious_step(some, False, kept, paths.items)()
    return same_loss_and_gradient(row["train/loss"], theirs["loss"], optimizer, kept[0])


if __name__ == "__main__":
    main(CLAIM, cases)
