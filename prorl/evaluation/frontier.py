"""The frontier: what interest a policy reaches, and what acceptance it keeps, for everything that it can be
told; and the searches beside it with the same weights.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from prorl.config.policy import ctr_factor
from prorl.evaluation.evaluate import Kept, judged_guide
from prorl.evaluation.judge import Judge
from prorl.evaluation.judged import Ways
from prorl.evaluation.kept import digest
from prorl.guide import Guide
from prorl.guides.beam import BeamSearchGuide
from prorl.guides.modules import code_of
from prorl.guides.search import SearchGuide
from prorl.policy.guide import PolicyGuide

FRONTIER_METRICS = ("ioi", "ior", "ctr", "coherence", "distinct")


def frontier(
    guides: Mapping[str, Guide], judge: Judge, kept: Kept | None = None
) -> dict[str, list[dict[str, Any]]]:
    """{guide: [{"acceptance": a, simulator: {metric: mean}}]} of the policies of `guides` that can be told,
    and of the searches beside them, in ascending order of a; empty where no policy can be told.

    A search's own weight of CTR counts at the policies' headline. Of searches that differ in that weight
    alone, the first stands for all: they lie on one line. Beams, which cost many times as much, are left out.
    What is `kept` is taken from there.
    """
    catalogues = [guide.catalogue for guide in guides.values() if _told(guide)]
    if not catalogues:
        return {}
    catalogue = catalogues[0]
    at: dict[str, dict[float, Guide]] = {}
    searches: list[SearchGuide] = []
    for name, guide in guides.items():
        if _told(guide):
            at[name] = {a: guide.told(a) for a in guide.catalogue.acceptances}
        elif isinstance(guide, SearchGuide) and catalogue.acceptance is not None:
            if isinstance(guide, BeamSearchGuide):
                continue
            if any(_alike_but_for_ctr(guide, other) for other in searches):
                continue
            searches.append(guide)
            factors = {a: ctr_factor(a, catalogue.acceptance) for a in catalogue.acceptances}
            at[name] = {a: guide.weighing(factor) for a, factor in factors.items()}
    return {
        name: [
            {"acceptance": a, **_judged(name, guide, judge, kept, [a, catalogue.acceptance])}
            for a, guide in own.items()
        ]
        for name, own in at.items()
    }


def _told(guide: Guide) -> TypeGuard[PolicyGuide]:
    return isinstance(guide, PolicyGuide) and bool(guide.catalogue.acceptances)


def _alike_but_for_ctr(one: SearchGuide, other: SearchGuide) -> bool:
    """Whether two searches differ in nothing but their weights of CTR."""
    if type(one) is not type(other):
        return False
    compared = [part.name for part in fields(one) if part.name != "attribute_words"]
    own, theirs = ([getattr(guide.weighing(0.0), name) for name in compared] for guide in (one, other))
    return own == theirs


def _judged(
    name: str, guide: Guide, judge: Judge, kept: Kept | None, at: list[float | None]
) -> dict[str, dict[str, float]]:
    """{simulator: {metric: mean}} of the greedy paths of `guide`, which is the guide `name` told `at`."""
    of_told = None
    if kept is not None:
        code = code_of(Path(__file__))
        of_told = replace(kept, guides={name: digest(kept.guides[name], at, code)})
    _, found = judged_guide(name, guide, judge, Ways(), 60, of_told)
    return {
        simulator: {metric: float(np.mean(own[metric])) for metric in FRONTIER_METRICS}
        for simulator, own in found.items()
    }
