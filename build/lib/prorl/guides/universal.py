"""A floor: one path for everybody, the one that does best on training prompts. A policy that has collapsed
amounts to no more.

Source: this project's own. The candidates are the mined paths of an allowed length, the most frequent first,
and paths that a search finds for training prompts. A candidate's score is the mean, over training prompts
with random targets, of what a search counts: IoI, plus `w_ctr` times the logarithm of each item's acceptance,
less `w_coherence` for each item that shares no attribute with the one before it in the path.

A prompt changes the path only where it must: items that the rules forbid are left out, while candidates are
scored as well. Where fewer than the shortest path's items are left, items of the next best candidates follow,
in their order and each once, and after them the most popular ones, until the path is long enough.

Shape key: `c` candidates, `p` prompts, `t` path position, `l` items of a list, `w` words of attribute bits.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.floors import UniversalSettings
from prorl.config.pretrain import SearchWeights
from prorl.files import read_json, write_json
from prorl.guide import GuideContext
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.popular import by_popularity
from prorl.guides.search import SearchGuide
from prorl.guides.writing import batches, packed
from prorl.prompts import Prompts, mined, random_prompts
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator, branching

FILE = "paths.json"


@dataclass(frozen=True)
class UniversalGuide:
    """Shows `path` [t] to everybody; `spare` [l] are the items that may lengthen it."""

    n_items: int
    path: list[int]
    spare: list[int]
    decoding: Decoding

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return torch.cat([self._batch(part) for part in batches(prompts, self.n_items)])

    def _batch(self, prompts: Prompts) -> torch.Tensor:
        closed = forbidden_at_start(prompts.history, prompts.target, self.n_items, self.decoding)
        items = torch.tensor([*self.path, *self.spare], device=closed.device).expand(len(prompts), -1)
        kept = ~closed.gather(1, items)
        own = torch.arange(items.shape[1], device=closed.device) < len(self.path)
        return packed(
            prompts, items, kept & (own | (kept.cumsum(1) <= self.decoding.min_length)), self.decoding
        )


def fit_universal(settings: UniversalSettings, context: GuideContext) -> dict[str, Any]:
    """Compare candidates and write them, the best first, into the context's folder.

    Gives the best one's score and length, and how many candidates there were of each kind.
    """
    found, of_mined = candidates(settings, context)
    prompts = _prompts(settings, context, "score")
    scores = mean_gains(
        context.simulators[settings.simulator],
        prompts,
        found,
        settings.weights,
        context.attribute_words,
        context.decoding,
    )
    order = np.argsort(-scores, kind="stable")
    write_json(context.folder / FILE, [[item for item in found[row].tolist() if item] for row in order])
    best = order[0]
    return {
        "score": float(scores[best]),
        "length": int((found[best] != 0).sum()),
        "mined": bool(best < of_mined),
        "mined_candidates": of_mined,
        "searched_candidates": len(found) - of_mined,
    }


def load_universal(context: GuideContext, n_items: int) -> UniversalGuide:
    """The guide that was fitted."""
    best, *others = read_json(context.folder / FILE)
    popular = by_popularity(context.data, n_items).tolist()
    spare = [item for path in [*others, popular] for item in path]
    own = set(best)
    return UniversalGuide(
        n_items, best, [item for item in dict.fromkeys(spare) if item not in own], context.decoding
    )


def candidates(settings: UniversalSettings, context: GuideContext) -> tuple[torch.Tensor, int]:
    """Distinct paths [c, t], mined ones first, and how many of them are mined."""
    decoding, train = context.decoding, context.data.train
    paths = [
        tuple(path)
        for path in mined(train, decoding.max_length).path.tolist()
        if _may_be_shown([item for item in path if item], decoding)
    ]
    most = Counter(paths).most_common(int(settings.mined_share * settings.candidates))
    distinct = dict.fromkeys(path for path, _ in most)
    of_mined = len(distinct)
    name = settings.simulator
    needed_by = f"{context.source}: {context.key}.simulator"
    search = SearchGuide(
        branching(context.simulators[name], name, needed_by),
        decoding,
        settings.n_candidates,
        settings.weights,
        context.attribute_words,
    )
    n_searched = settings.candidates - of_mined
    if n_searched:
        prompts = _prompts(settings, context, "search", n_searched)
        distinct |= dict.fromkeys(tuple(path) for path in search.paths(prompts).tolist())
    return torch.tensor(list(distinct), device=context.device), of_mined


def mean_gains(
    simulator: Simulator,
    prompts: Prompts,
    paths: torch.Tensor,
    weights: SearchWeights,
    words: np.ndarray,
    decoding: Decoding,
    prompts_at_once: int = 16,
) -> np.ndarray:
    """What each of `paths` [c, t] gains on average over `prompts`, [c] float64, without the items that the
    rules forbid a prompt.
    """
    bits = torch.from_numpy(words.view(np.int64)).to(paths.device)
    total = torch.zeros(len(paths), dtype=torch.float64, device=paths.device)
    for first in range(0, len(prompts), prompts_at_once):
        part = prompts[first : first + prompts_at_once]
        closed = forbidden_at_start(part.history, part.target, simulator.n_items, decoding)
        every = paths.expand(len(part), -1, -1)
        shut = closed.gather(1, every.flatten(1)).view_as(every)
        order = shut.to(torch.int8).argsort(dim=-1, stable=True)
        shown = every.masked_fill(shut, 0).gather(-1, order)
        scores = simulator.score(part.history, shown, part.target, ends=True)
        gain = scores.log_prob[..., -1] - scores.log_prob[..., 0]
        gain = gain + weights.ctr * scores.acceptance.masked_fill(shown == 0, 1.0).log().sum(-1)
        apart = (bits[shown[..., 1:]] & bits[shown[..., :-1]]).eq(0).all(-1)
        gain = gain - weights.coherence * (apart & (shown[..., 1:] != 0)).sum(-1)
        total += gain.double().sum(0)
    return (total / len(prompts)).cpu().numpy()


def _may_be_shown(items: list[int], decoding: Decoding) -> bool:
    repeats = len(set(items)) < len(items)
    return max(1, decoding.min_length) <= len(items) and not (repeats and "repeats" in decoding.forbid)


def _prompts(
    settings: UniversalSettings, context: GuideContext, purpose: str, n: int | None = None
) -> Prompts:
    """`n` training prompts with random targets, or as many as candidates are scored on."""
    data, n_items = context.data, context.simulators[settings.simulator].n_items
    seed = derived_seed(context.seed, "universal", purpose)
    prompts = random_prompts(data.train, data.sequences, n_items, n or settings.prompts, seed)
    return prompts.to(context.device)
