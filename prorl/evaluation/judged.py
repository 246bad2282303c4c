"""What a guide writes for prompts, and what a judge says of it: plain arrays, so that they can be kept.

Shape key: `p` prompts, `k` paths per prompt, `t` path position.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from prorl.config.evaluate import Rejection
from prorl.evaluation.judge import Judge, greedy_paths
from prorl.evaluation.kept import Parts
from prorl.evaluation.lengths import by_length
from prorl.evaluation.rejection import rejection_metrics
from prorl.guide import BeamGuide, CostedGuide, Guide, LiveBeamGuide, SamplingGuide
from prorl.prompts import Prompts
from prorl.runtime import derived_seed, progress

Arrays = dict[str, np.ndarray]
TIMED = 64  # prompts whose greedy paths are timed, in one batch
MILLISECONDS = "milliseconds per prompt"  # of greedy paths by guide, in runtime.json
REJECTION = "rejection"  # greedy paths shown to users who refuse items
BY_LENGTH = "by_length"  # the metrics of a path's first items
STEPS = "steps"  # the target's log P and rank before a path and after each of its items


@dataclass(frozen=True)
class Ways:
    """What is judged of a guide beside its greedy paths towards the prompts' own targets.

    `rollouts`, `beams` and `live_beams`: of how many paths the best counts; `harder`: further targets [p] by
    label; `rejection`: how users refuse items, where greedy paths are judged with that too.
    """

    rollouts: list[int] = field(default_factory=list)
    beams: list[int] = field(default_factory=list)
    live_beams: list[int] = field(default_factory=list)
    harder: dict[str, torch.Tensor] = field(default_factory=dict)
    rejection: Rejection | None = None


def written(
    name: str, guide: Guide, judge: Judge, ways: Ways, every_seconds: float, parts: Parts | None = None
) -> Arrays:
    """The paths of `guide` for the prompts of `judge`: `greedy` [p, t], and where it has such, `samples`
    [p, k, t], `beam@K`, `max@K` and those towards harder targets, by their labels.

    `states` [p]: what the greedy paths cost, where the guide says so. Batches are kept in `parts`.
    """
    parts = parts or Parts()
    prompts, seed = judge.prompts, derived_seed(judge.seed, "samples")

    def plain(batch: Prompts) -> torch.Tensor:
        return greedy_paths(guide, batch, judge.max_length, judge.batch_size)

    def in_batches(way: str, n_paths: int, write: Callable[[Prompts], torch.Tensor]) -> torch.Tensor:
        size = max(1, judge.batch_size // n_paths)
        batches = torch.arange(len(prompts), device=prompts.target.device).split(size)
        shown = progress(batches, description=f"{way} {name}", unit="batch", every_seconds=every_seconds)
        found = [
            parts.arrays(f"{way}/{i}", lambda rows=rows: {"items": write(prompts[rows]).cpu().numpy()})
            for i, rows in enumerate(shown)
        ]
        device = prompts.target.device
        return torch.from_numpy(np.concatenate([part["items"] for part in found])).to(device)

    greedy = in_batches("greedy", 1, plain)
    found = {"greedy": greedy}
    if isinstance(guide, CostedGuide):
        found["states"] = guide.states(prompts, greedy)
    if ways.rollouts and isinstance(guide, SamplingGuide):
        n = max(ways.rollouts)
        found["samples"] = in_batches("sample", n, lambda batch: guide.samples(batch, n, seed))
    if isinstance(guide, BeamGuide):
        for k in ways.beams:
            found[f"beam@{k}"] = in_batches(f"beam@{k}", k, lambda batch, k=k: guide.beams(batch, k))
    if isinstance(guide, LiveBeamGuide):
        for k in ways.live_beams:
            found[f"max@{k}"] = in_batches(f"max@{k}", k, lambda batch, k=k: guide.live_beams(batch, k))
    for label, target in ways.harder.items():
        towards = replace(prompts, target=target)
        found[label] = greedy_paths(guide, towards, judge.max_length, judge.batch_size)
    return {name: paths.cpu().numpy() for name, paths in found.items()}


def judged(paths: Arrays, judge: Judge, ways: Ways, parts: Parts | None = None) -> Arrays:
    """What the one simulator of `judge` says of `written` paths: the metrics [p] of greedy ones by their
    names, those of other ways as `rollout@5/ioi`, of the first items of the greedy paths, [p, t], as
    `by_length/ioi`, and the target's [p, t+1] as `steps/rank`. What is judged of one way is kept in `parts`.
    """
    parts = parts or Parts()
    (name,) = judge.simulators
    device = judge.prompts.target.device
    items = {way: torch.from_numpy(own).to(device) for way, own in paths.items() if way != "states"}
    found = dict(parts.arrays("greedy", lambda: judge.metrics(items["greedy"])[name]))

    def add(label: str, metrics: Arrays) -> None:
        found.update({f"{label}/{metric}": values for metric, values in metrics.items()})

    if "samples" in items:
        counts = {f"rollout@{count}": count for count in ways.rollouts}

        def best() -> Arrays:
            of_counts = judge.best_of(items["samples"], counts)[name]
            return {
                f"{label}/{key}": own for label, metrics in of_counts.items() for key, own in metrics.items()
            }

        found.update(parts.arrays("samples", best))
    searched = [*((f"beam@{k}", k) for k in ways.beams), *((f"max@{k}", k) for k in ways.live_beams)]
    for label, k in searched:
        if label in items:

            def best_of_search(label: str = label, k: int = k) -> Arrays:
                return judge.best_of(items[label], {label: k})[name][label]

            add(label, parts.arrays(label, best_of_search))
    for label, target in ways.harder.items():
        towards = replace(judge, prompts=replace(judge.prompts, target=target))
        own = items[label]
        add(label, parts.arrays(label, lambda towards=towards, own=own: towards.metrics(own)[name]))
    if ways.rejection is not None:
        rejection = ways.rejection

        def refusing() -> Arrays:
            return rejection_metrics(
                judge.simulators,
                judge.prompts,
                items["greedy"],
                judge.attribute_words,
                rejection,
                seed=derived_seed(judge.seed, "rejection"),
                batch_size=judge.batch_size,
            )[name]

        add(REJECTION, parts.arrays(REJECTION, refusing))

    def of_first_items() -> Arrays:
        both = zip((BY_LENGTH, STEPS), by_length(judge, items["greedy"]), strict=True)
        return {f"{label}/{metric}": own for label, values in both for metric, own in values.items()}

    found |= parts.arrays(BY_LENGTH, of_first_items)
    return found


def milliseconds(guide: Guide, prompts: Prompts) -> float:
    """Milliseconds per prompt that greedy paths for the first of `prompts` take with one thread, after what
    is prepared once; of a guide on another device than the CPU, on that.
    """
    threads, few = torch.get_num_threads(), prompts[:TIMED]
    torch.set_num_threads(1)
    try:
        guide.paths(few[:1])
        started = time.perf_counter()
        guide.paths(few).cpu()
        return 1000 * (time.perf_counter() - started) / len(few)
    finally:
        torch.set_num_threads(threads)
