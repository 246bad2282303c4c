"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
A guide's own module is imported when one is built, so that settings are checked at once.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prorl.config.floors import (
    Distance,
    PopularSettings,
    RandomSettings,
    TargetNeighboursSettings,
    UniversalSettings,
)
from prorl.config.guide import BeamSettings, PolicySettings, SearchSettings
from prorl.config.guide import Guide as Section
from prorl.config.proactive import GraphPathSettings, IPGSettings, IRNSettings, LLMSettings, NextItemSettings
from prorl.config.section import ConfigError, Settings, build
from prorl.errors import DataError
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.registries import entry

if TYPE_CHECKING:
    from prorl.guides.distances import Distances
    from prorl.training import Session


def _searched(settings: SearchSettings, context: GuideContext) -> dict[str, Any]:
    """What every search is made of."""
    from prorl.simulators.protocol import branching

    name = settings.simulator
    return {
        "simulator": branching(context.simulators[name], name, f"{context.source}: {context.key}.simulator"),
        "decoding": context.decoding,
        "n_candidates": settings.n_candidates,
        "weights": settings.weights,
        "attribute_words": context.attribute_words,
    }


def _search(settings: SearchSettings, context: GuideContext) -> Guide:
    from prorl.guides.search import SearchGuide

    return SearchGuide(**_searched(settings, context))


def _beam(settings: BeamSettings, context: GuideContext) -> Guide:
    from prorl.guides.beam import BeamSearchGuide

    return BeamSearchGuide(**_searched(settings, context), width=settings.width)


def _policy(settings: PolicySettings, context: GuideContext) -> Guide:
    from prorl.policy.guide import PolicyGuide

    decoding = None if settings.own_rules else context.decoding
    guide = PolicyGuide.load(settings.path, decoding, context.device, context.precision)
    if settings.acceptance is not None:
        try:
            guide = guide.told(settings.acceptance)
        except ConfigError as error:
            raise ConfigError(f"{context.source}: {context.key}.{error}") from error
    found, needed = guide.catalogue.decoding.max_length, context.decoding.max_length
    if found != needed:  # all guides' paths are judged side by side
        allowed = f"{needed}, that of {context.source}, where a guide has own_rules"
        raise DataError(f"{settings.path}/prorl.json: decoding.max_length: got {found}, allowed: {allowed}")
    return guide


def _random(settings: RandomSettings, context: GuideContext) -> Guide:
    from prorl.guides.random import RandomGuide

    return RandomGuide(len(context.data.titles), context.decoding, context.seed)


def _popular(settings: PopularSettings, context: GuideContext) -> Guide:
    from prorl.guides.popular import PopularGuide, by_popularity

    return PopularGuide(by_popularity(context.data, len(context.data.titles)), context.decoding)


def _distances(kind: Distance, simulator: str, context: GuideContext) -> "Distances":
    """Distances of `kind`, by the item vectors of `simulator` where they are not by attributes."""
    from prorl.guides.distances import Distances
    from prorl.guides.writing import vectors_of

    key = f"{context.source}: {context.key}.simulator"
    of_attributes = kind == "attributes"
    vectors = None if of_attributes else vectors_of(context.simulators[simulator], simulator, key)
    return Distances(kind, vectors, context.attribute_words)


def _target_neighbours(settings: TargetNeighboursSettings, context: GuideContext) -> Guide:
    from prorl.guides.target_neighbours import TargetNeighboursGuide

    distances = _distances(settings.distance, settings.simulator, context)
    nearest_last = settings.order == "nearest_last"
    return TargetNeighboursGuide(len(context.data.titles), distances, nearest_last, context.decoding)


def _fit_universal(settings: UniversalSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.universal import fit_universal

    return fit_universal(settings, context)


def _universal(settings: UniversalSettings, context: GuideContext) -> Guide:
    from prorl.guides.universal import load_universal

    return load_universal(context, len(context.data.titles))


def _next_item(settings: NextItemSettings, context: GuideContext) -> Guide:
    from prorl.guides.next_item import NextItemGuide
    from prorl.guides.writing import scoring

    name = settings.simulator
    simulator = scoring(context.simulators[name], name, f"{context.source}: {context.key}.simulator")
    distances = _distances(settings.distance, name, context)
    return NextItemGuide(simulator, settings.k, distances, context.decoding)


def _graph_path(settings: GraphPathSettings, context: GuideContext) -> Guide:
    from prorl.guides.graph_path import GraphPathGuide

    return GraphPathGuide.build(context.data, settings.way, settings.power, context.decoding)


def _fit_irn(settings: IRNSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.irn_training import fit_irn

    return fit_irn(settings, context, session)


def _irn(settings: IRNSettings, context: GuideContext) -> Guide:
    from prorl.guides.irn import IRNGuide

    n_items = len(context.data.titles)
    return IRNGuide.load(context.folder, settings, n_items, context.decoding, context.device)


def _fit_ipg(settings: IPGSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.ipg import has_fitted

    if not has_fitted(settings):  # what clusters takes long to import
        return {}
    from prorl.guides.intents import fit_intents

    return fit_intents(settings, context)


def _ipg(settings: IPGSettings, context: GuideContext) -> Guide:
    from prorl.guides.ipg import IPGGuide

    return IPGGuide.build(settings, context)


def _llm_ipp(settings: LLMSettings, context: GuideContext) -> Guide:
    from prorl.guides.llm_ipp import LLMGuide

    return LLMGuide.build(settings, context)


GUIDES: dict[str, GuideEntry] = {
    "search": GuideEntry(SearchSettings, _search),
    "beam": GuideEntry(BeamSettings, _beam),
    "policy": GuideEntry(PolicySettings, _policy),
    "random": GuideEntry(RandomSettings, _random),
    "popular": GuideEntry(PopularSettings, _popular),
    "target_neighbours": GuideEntry(TargetNeighboursSettings, _target_neighbours),
    "universal": GuideEntry(UniversalSettings, _universal, _fit_universal),
    "next_item": GuideEntry(NextItemSettings, _next_item),
    "graph_path": GuideEntry(GraphPathSettings, _graph_path),
    "irn": GuideEntry(IRNSettings, _irn, _fit_irn),
    "ipg": GuideEntry(IPGSettings, _ipg, _fit_ipg),
    "llm_ipp": GuideEntry(LLMSettings, _llm_ipp),
}


def build_guides(names: list[str], section: Section, context: GuideContext) -> dict[str, Guide]:
    """The guides called `names`.

    Raises `ConfigError` for the first mistake in their settings, `DataError` for a policy that does not fit.
    """
    simulators = list(context.simulators)
    read = {name: _read(name, section, simulators, context.source) for name in names}
    return {
        name: kind.build(settings, replace(context, key=f"guide.{name}", folder=context.folder / name))
        for name, (kind, settings) in read.items()
    }


def mistakes(names: list[str], section: Section, simulators: list[str], source: str) -> list[str]:
    """The first mistake in the settings of each of the guides `names`, a line each."""
    found = []
    for name in names:
        try:
            _read(name, section, simulators, source)
        except ConfigError as error:
            found.append(str(error))
    return found


def _read(name: str, section: Section, simulators: list[str], source: str) -> tuple[GuideEntry, Settings]:
    """The kind of the guide `name` and its settings."""
    key = f"guide.{name}"
    if name not in section.named:
        raise ConfigError(f"{source}: {key}: missing; `guides` names it")
    values = dict(section.named[name])
    kind = values.pop("kind", name)
    if not isinstance(kind, str):
        raise ConfigError(f"{source}: {key}.kind: got {kind!r} ({type(kind).__name__}), allowed: text")
    found = entry(GUIDES, kind, f"{source}: {key}.kind")
    if not isinstance(found, GuideEntry):
        raise ConfigError(
            f"{source}: {key}.kind: got {kind!r}, a {type(found).__name__}, allowed: a GuideEntry"
        )
    settings = build(found.settings, values, key, source)
    simulator = getattr(settings, "simulator", simulators[0])
    if simulator not in simulators:
        allowed = f"one of `simulators`, {simulators}"
        raise ConfigError(f"{source}: {key}.simulator: got {simulator!r}, allowed: {allowed}")
    return found, settings
