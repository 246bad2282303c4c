"""Tells when a policy has come to write few paths: the same for most prompts, or the same in every sample."""

from collections.abc import Mapping

from prorl.config.finetune import StopOnCollapse

BEST_OF = "best_of"  # a validation metric: mean IoI of the best of `n_rollouts` paths


def least(start: float, share: float) -> float:
    """What `share` of `start` allows: as much below a negative start as below a positive one of its size."""
    return start - (1 - share) * abs(start)


def fallen(
    metrics: Mapping[str, float], initial: Mapping[str, float], settings: StopOnCollapse | None
) -> str | None:
    """What of validation `metrics` is below its share of the `initial` ones, in words; None where nothing is,
    or without `settings`.
    """
    if settings is None:
        return None
    told = []
    for name, share in (("distinct", settings.distinct), (BEST_OF, settings.best_of)):
        if share is not None and metrics[name] < (allowed := least(initial[name], share)):
            told.append(f"{name} is {metrics[name]:.3f}, allowed: at least {allowed:.3f}")
    return "; ".join(told) or None
