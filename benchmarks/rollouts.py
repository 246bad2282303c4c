"""The cases of the two benchmarks of rollouts: 16 paths for each of 128 prompts.

Ours and Transformers' `generate` sample from the same policy under the same rules, so that their paths are
alike in length; a check holds them to it. Rows are for a mean length of about 2, 3.5 and 10 items. Ours
runs in bf16 autocast, `generate` in bf16 and in float32.
"""

from collections.abc import Iterator

import torch

from benchmarks.harness import Case, Disagreement, Options
from benchmarks.models import Models, models
from benchmarks.obvious import (
    AllowedTokens,
    PrefixTree,
    action_log_probs,
    allowed_mask,
    items_of_tokens,
    sampled_tokens,
    token_log_probs,
    transformers_policy,
)
from prorl.policy.catalogue import NO_TOKEN, Paths
from prorl.policy.decoding import keyed_uniforms, rollouts

MEAN_LENGTHS = (2.0, 3.5, 10.0)
SIZES = {"prompts": 128, "paths": 16, "checked": 8}
QUICK = {"prompts": 6, "paths": 4, "checked": 3}
TOLERANCE = 1e-3  # of an action's log-probability in float32: 4 tokens, logits of about 10
STANDARD_ERRORS = 5


def constrained_cases(options: Options) -> Iterator[Case]:
    """One case for each mean length, under the rules of params.yaml with a shortest length of 1."""
    return _cases(options, constrained=True, min_length=1)


def unconstrained_cases(options: Options) -> Iterator[Case]:
    """One case for each mean length, any token being allowed after any."""
    return _cases(options, constrained=False, forbid=[], min_length=0)


def _cases(options: Options, **rules) -> Iterator[Case]:
    base = models(options.quick, options.device).with_rules(**rules)
    for mean in MEAN_LENGTHS:
        yield _case(base.with_mean_length(mean), f"mean length {mean:g}", options)


def _case(setting: Models, name: str, options: Options) -> Case:
    sizes = QUICK if options.quick else SIZES
    m, catalogue = sizes["paths"], setting.catalogue
    history, target = setting.prompts(sizes["prompts"])
    uniforms = keyed_uniforms(1, torch.arange(len(target), device=options.device), m, catalogue.n_tokens)
    theirs, tree = transformers_policy(setting.policy, catalogue), PrefixTree(catalogue)
    n_ids = setting.policy.sizes.vocabulary
    never = list(range(catalogue.vocabulary.size, n_ids))  # ids that stand for targets in the encoder's input

    def ours(bf16: bool = True) -> Paths:
        with torch.autocast(options.device.type, dtype=torch.bfloat16, enabled=bf16):
            return rollouts(setting.policy, catalogue, history, target, uniforms)

    def generate(bf16: bool) -> torch.Tensor:
        torch.manual_seed(1)
        rules = {"suppress_tokens": never or None}
        if catalogue.decoding.constrained:
            rules = {"prefix_allowed_tokens_fn": AllowedTokens(tree, catalogue, history, target, m)}
        with torch.inference_mode(), torch.autocast(options.device.type, dtype=torch.bfloat16, enabled=bf16):
            tokens = sampled_tokens(theirs, catalogue, history, target, m, **rules)
        return items_of_tokens(tree, catalogue, tokens, m)

    def check(own: torch.Tensor, others: dict[str, torch.Tensor]) -> str:
        for other in others.values():
            check_lengths(own, other)
        paths, checked = ours(bf16=False), sizes["checked"]
        labels = paths.tokens[:checked].flatten(0, 1)
        labels = labels[:, (labels != NO_TOKEN).any(0)]
        labels = labels.masked_fill(labels == NO_TOKEN, -100)
        mask = (torch.arange(n_ids, device=options.device) < catalogue.vocabulary.size).expand(
            *labels.shape, n_ids
        )
        if catalogue.decoding.constrained:
            mask = allowed_mask(
                AllowedTokens(tree, catalogue, history[:checked], target[:checked], m), labels, 0, n_ids
            )
        prompt_tokens = catalogue.prompt_tokens(history[:checked], target[:checked]).repeat_interleave(
            m, dim=0
        )
        with torch.no_grad():
            log_probs = token_log_probs(theirs, prompt_tokens, labels, mask)
        expected = action_log_probs(log_probs, labels, catalogue.n_levels, paths.log_prob.shape[-1]).view_as(
            paths.log_prob[:checked]
        )
        off = (paths.log_prob[:checked] - expected).abs().max().item()
        if not off <= TOLERANCE:
            raise Disagreement(
                f"{name}: log-probabilities of actions differ by {off:.1e} from Transformers', "
                f"allowed: {TOLERANCE}"
            )
        same = (own == paths.items).all(-1).double().mean().item()
        generated = ", ".join(f"{mean_length(other):.2f}" for other in others.values())
        return (
            f"{mean_length(own):.2f} items on average, by `generate` {generated}; "
            f"float32 log-probabilities of {len(labels)} paths within {off:.0e} of Transformers'; "
            f"{100 * same:.0f}% of our paths the same in bf16"
        )

    return Case(
        name,
        lambda: ours().items,
        {"`generate` in float32": lambda: generate(False), "`generate` in bf16": lambda: generate(True)},
        check,
        "tokens",
        lambda items: n_tokens(items, catalogue.n_levels),
    )


def mean_length(items: torch.Tensor) -> float:
    """Mean number of items of paths [b, m, t]."""
    return (items != 0).sum(-1).double().mean().item()


def n_tokens(items: torch.Tensor, n_levels: int) -> int:
    """Tokens that make paths [b, m, t]: those of the items, and the stops."""
    length = (items != 0).sum(-1)
    return int((length * n_levels + (length < items.shape[-1])).sum())


def check_lengths(own: torch.Tensor, other: torch.Tensor) -> None:
    """Raise `Disagreement` if paths [b, m, t] of two versions differ in mean length by more than chance."""
    of_prompts = [(paths != 0).sum(-1).double().mean(1) for paths in (own, other)]
    difference = of_prompts[0] - of_prompts[1]  # the same prompts
    allowed = STANDARD_ERRORS * difference.std().item() / len(difference) ** 0.5 + 1e-9
    if not abs(difference.mean().item()) <= allowed:
        raise Disagreement(
            f"paths have {mean_length(own):.2f} and {mean_length(other):.2f} items on average, "
            f"allowed: {allowed:.2f} apart"
        )
