"""Guides times simulators: every metric with its interval, guides compared on the same prompts, and every
prompt's result.

What was computed before is kept per guide and judge, so that one new guide does not judge all again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from prorl.config.evaluate import Evaluate
from prorl.errors import DataError
from prorl.evaluation.judge import Judge
from prorl.evaluation.judged import BY_LENGTH, STEPS, Arrays, Ways, judged, milliseconds, written
from prorl.evaluation.kept import Parts, Store, digest
from prorl.evaluation.lengths import means
from prorl.guide import Guide
from prorl.guides.modules import code_of
from prorl.metrics.intervals import UserBootstrap
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress
from prorl.simulators.protocol import Simulator

Table = dict[str, dict]


@dataclass(frozen=True)
class Evaluation:
    """`results`: {guide: {simulator: {metric: {mean, low, high}, "rollout@K": {metric: ..}}}}, and beside
    `rollout@K` any `beam@K`, `max@K` (of the released beam search), `rejection`, the greedy paths shown to
    users who refuse items, and `target@Q`, the greedy paths towards targets at the Q-th percentile. A guide
    that says what its paths cost also has {"states": mean per prompt} beside its simulators.

    `comparison`: {"a - b": {simulator: {metric: {mean, low, high, p}}}}, paired. `per_prompt`: a row for each
    guide, simulator and prompt, with a column for each metric of the greedy path (`ioi`) and of every other
    way to decode (`rollout@5/ioi`), empty where the guide lacks that way, and the target's log P and rank
    before the path and after each item as lists (`steps/log_prob`, `steps/rank`). `lengths`: {guide:
    {simulator: [{"length", "prompts", metric: mean}]}} of the first items of greedy paths, a row per length.
    """

    results: Table
    comparison: Table
    per_prompt: pd.DataFrame
    lengths: Table


@dataclass(frozen=True)
class Kept:
    """Where results are kept, and digests of what each guide and each simulator is made from."""

    store: Store
    guides: Mapping[str, str]
    simulators: Mapping[str, str]


def evaluate(
    guides: Mapping[str, Guide],
    judge: Judge,
    harder: dict[str, torch.Tensor],
    settings: Evaluate,
    every_seconds: float,
    kept: Kept | None = None,
    blocked: Collection[int] = (),
) -> Evaluation:
    """Judge all `guides`, and compare `compared_pairs` of them prompt by prompt.

    `harder` are further targets [p] of the same prompts, by label: greedy paths are judged towards them too.
    What is `kept` is taken from there. Raises `DataError` for a guide whose number of items is not that of
    every simulator, and for one that shows a `blocked` item.
    """
    _same_items(guides, judge.simulators)
    ways = Ways(settings.rollouts, settings.beams, settings.live_beams, harder, settings.rejection)
    bootstrap = _bootstrap(judge, settings)
    results: Table = {}
    lengths: Table = {}
    metrics: dict[str, dict[str, Arrays]] = {}
    rows = []
    for name, guide in _shown(guides, every_seconds):
        paths, found = judged_guide(name, guide, judge, ways, every_seconds, kept)
        _none_shown(name, paths["greedy"], blocked, judge.prompts)
        of_ways = {simulator: without(own, BY_LENGTH, STEPS) for simulator, own in found.items()}
        metrics[name] = {simulator: without(own, "/") for simulator, own in of_ways.items()}
        results[name] = _intervals(of_ways, bootstrap)
        if "states" in paths:
            results[name]["states"] = float(paths["states"].astype(np.float64).mean())
        lengths[name] = {simulator: means(nested(own)[BY_LENGTH]) for simulator, own in found.items()}
        rows += [
            _rows(name, simulator, judge.prompts, paths["greedy"], own, nested(found[simulator])[STEPS])
            for simulator, own in of_ways.items()
        ]
    comparison = {
        f"{name} - {other}": {
            simulator: {
                metric: bootstrap.difference(values - metrics[other][simulator][metric])
                for metric, values in own.items()
            }
            for simulator, own in metrics[name].items()
        }
        for name, other in compared_pairs(list(guides))
    }
    return Evaluation(results, comparison, pd.concat(rows, ignore_index=True), lengths)


def greedy_results(
    guides: Mapping[str, Guide],
    judge: Judge,
    settings: Evaluate,
    every_seconds: float,
    kept: Kept | None = None,
) -> Table:
    """`Evaluation.results` of greedy paths alone."""
    _same_items(guides, judge.simulators)
    bootstrap, results = _bootstrap(judge, settings), {}
    for name, guide in _shown(guides, every_seconds):
        paths, found = judged_guide(name, guide, judge, Ways(), every_seconds, kept)
        greedy = {simulator: without(own, BY_LENGTH, STEPS) for simulator, own in found.items()}
        results[name] = _intervals(greedy, bootstrap)
        if "states" in paths:
            results[name]["states"] = float(paths["states"].astype(np.float64).mean())
    return results


def _shown(guides: Mapping[str, Guide], every_seconds: float) -> Iterable[tuple[str, Guide]]:
    """The `guides` by name, with their progress: what takes long on a slow judge is judging, not writing."""
    return progress(guides.items(), description="judge", unit="guide", every_seconds=every_seconds)


def _bootstrap(judge: Judge, settings: Evaluate) -> UserBootstrap:
    users, seed = judge.prompts.user.cpu().numpy(), derived_seed(judge.seed, "bootstrap")
    return UserBootstrap.of_users(users, settings.bootstrap_resamples, seed)


def _intervals(of_ways: Mapping[str, Arrays], bootstrap: UserBootstrap) -> dict[str, Any]:
    return {
        simulator: nested({metric: bootstrap.mean(values) for metric, values in own.items()})
        for simulator, own in of_ways.items()
    }


def without(values: Arrays, *parts: str) -> Arrays:
    """`values` but for those that have one of `parts` in their names."""
    return {name: own for name, own in values.items() if not any(part in name for part in parts)}


def judged_guide(
    name: str, guide: Guide, judge: Judge, ways: Ways, every_seconds: float, kept: Kept | None
) -> tuple[Arrays, dict[str, Arrays]]:
    """The paths of `guide`, see `written`, and what each simulator says of them, see `judged`."""

    def write(parts: Parts) -> Arrays:
        return written(name, guide, judge, ways, every_seconds, parts)

    of_each = {
        simulator: replace(judge, simulators={simulator: own}) for simulator, own in judge.simulators.items()
    }
    if kept is None:
        paths = write(Parts())
        return paths, {simulator: judged(paths, own, ways) for simulator, own in of_each.items()}
    key = digest(kept.guides[name], _asked(judge, ways), code_of(Path(__file__).with_name("judged.py")))
    paths = kept.store.resumed(f"{name}-paths", key, write)
    found = {}
    for simulator, own in of_each.items():
        asked = [ways.rollouts, ways.rejection, judge.diversity_pairs]
        under = digest(key, kept.simulators[simulator], judge.attribute_words, asked)
        found[simulator] = kept.store.resumed(
            f"{name}-{simulator}", under, lambda parts, own=own: judged(paths, own, ways, parts)
        )
    return paths, found


def timed(guides: Mapping[str, Guide], judge: Judge, kept: Kept) -> dict[str, float]:
    """{guide: milliseconds per prompt}, see `milliseconds`; measured once as long as nothing changes."""
    found = {}
    for name, guide in guides.items():
        key = digest(kept.guides[name], _asked(judge, Ways()), code_of(Path(__file__).with_name("judged.py")))
        found[name] = kept.store.json(
            f"{name}-time", key, lambda guide=guide: milliseconds(guide, judge.prompts)
        )
    return found


def _asked(judge: Judge, ways: Ways) -> list[Any]:
    """What a guide is asked for."""
    prompts = [part.cpu().numpy() for part in vars(judge.prompts).values()]
    harder = [[label, target.cpu().numpy()] for label, target in ways.harder.items()]
    how = [judge.max_length, judge.batch_size, judge.seed, judge.prompts.target.device.type]
    return [prompts, harder, how, max(ways.rollouts, default=0), ways.beams, ways.live_beams]


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those called `way/metric` put into a mapping of the way."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        way, slash, metric = name.rpartition("/")
        (found.setdefault(way, {}) if slash else found)[metric] = value
    return found


def compared_pairs(guides: list[str]) -> list[tuple[str, str]]:
    """Which guide is compared with which: every guide with the first, and the second with every further one.

    In the pipeline the first is the policy that fine-tuning starts from, the second the one that it gives.
    """
    first, *others = guides
    return [(other, first) for other in others] + [(others[0], other) for other in others[1:]]


def _same_items(guides: Mapping[str, Guide], simulators: Mapping[str, Simulator]) -> None:
    for name, guide in guides.items():
        for simulator, users in simulators.items():
            if guide.n_items != users.n_items:
                allowed = f"the {users.n_items} of simulator {simulator}"
                raise DataError(f"guide {name}: got {guide.n_items} items, allowed: {allowed}")


def _none_shown(guide: str, paths: np.ndarray, blocked: Collection[int], prompts: Prompts) -> None:
    """Refuse a guide that does not keep the guardrails: one from outside the library may not know them."""
    shown = np.argwhere(np.isin(paths, list(blocked)))
    if len(shown):
        row, position = shown[0]
        raise DataError(
            f"guide {guide}: prompt {int(prompts.number[row])}: got item {int(paths[row, position])} in its "
            "path, allowed: none that the guardrails block"
        )


def _rows(
    guide: str, simulator: str, prompts: Prompts, paths: np.ndarray, metrics: Arrays, steps: Arrays
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "policy": guide,
            "simulator": simulator,
            "prompt": np.arange(len(prompts)),
            "user": prompts.user.cpu().numpy().astype(np.int32),
            "history": list(prompts.history.cpu().numpy()),
            "target": prompts.target.cpu().numpy(),
            "path": [row[row != 0] for row in paths],
            **{f"{STEPS}/{name}": [row[~np.isnan(row)] for row in values] for name, values in steps.items()},
            **metrics,
        }
    )
