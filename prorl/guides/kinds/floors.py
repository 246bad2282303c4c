"""Kinds that every other guide is to beat.

A guide's own module is imported in the function that builds or fits it, see `prorl.guides.registry`.
"""

from typing import TYPE_CHECKING, Any

from prorl.config.floors import (
    Distance,
    PopularSettings,
    RandomSettings,
    TargetNeighboursSettings,
    UniversalSettings,
)
from prorl.guide import Guide, GuideContext, GuideEntry

if TYPE_CHECKING:
    from prorl.guides.distances import Distances
    from prorl.training import Session


def _random(settings: RandomSettings, context: GuideContext) -> Guide:
    from prorl.guides.random import RandomGuide

    return RandomGuide(len(context.data.titles), context.decoding, context.seed)


def _popular(settings: PopularSettings, context: GuideContext) -> Guide:
    from prorl.guides.popular import PopularGuide, by_popularity

    return PopularGuide(by_popularity(context.data, len(context.data.titles)), context.decoding)


def distances_of(kind: Distance, simulator: str, context: GuideContext) -> "Distances":
    """Distances of `kind`, by the item vectors of `simulator` where they are not by attributes."""
    from prorl.guides.distances import Distances
    from prorl.simulators.protocol import vectors_of

    key = f"{context.source}: {context.key}.simulator"
    of_attributes = kind == "attributes"
    vectors = None if of_attributes else vectors_of(context.simulators[simulator], simulator, key)
    return Distances(kind, vectors, context.attribute_words)


def _target_neighbours(settings: TargetNeighboursSettings, context: GuideContext) -> Guide:
    from prorl.guides.target_neighbours import TargetNeighboursGuide

    distances = distances_of(settings.distance, settings.simulator, context)
    nearest_last = settings.order == "nearest_last"
    return TargetNeighboursGuide(len(context.data.titles), distances, nearest_last, context.decoding)


def _fit_universal(settings: UniversalSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.universal import fit_universal

    return fit_universal(settings, context)


def _universal(settings: UniversalSettings, context: GuideContext) -> Guide:
    from prorl.guides.universal import load_universal

    return load_universal(context, len(context.data.titles))


FLOORS: dict[str, GuideEntry] = {
    "random": GuideEntry(RandomSettings, _random),
    "popular": GuideEntry(PopularSettings, _popular),
    "target_neighbours": GuideEntry(TargetNeighboursSettings, _target_neighbours),
    "universal": GuideEntry(UniversalSettings, _universal, _fit_universal),
}
