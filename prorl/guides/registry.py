"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
A guide's own module is imported in the function that builds or fits it, so that settings are checked at once,
and so that it is known which modules a guide's results come from, see `prorl.guides.modules`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prorl.config.decoding import Decoding
from prorl.config.floors import (
    Distance,
    PopularSettings,
    RandomSettings,
    TargetNeighboursSettings,
    UniversalSettings,
)
from prorl.config.guide import BeamSettings, PolicySettings, RulesSettings, SearchSettings
from prorl.config.guide import Guide as Section
from prorl.config.proactive import GraphPathSettings, IPGSettings, IRNSettings, LLMSettings, NextItemSettings
from prorl.config.rivals import (
    DQNSettings,
    ImpatientSettings,
    LinUCBSettings,
    OffPolicySettings,
    TwoCriticsSettings,
    UtilityTuningSettings,
)
from prorl.config.section import ConfigError, Settings, build
from prorl.errors import DataError
from prorl.files import read_json
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.layout import GUIDE_FILE
from prorl.params import Params, laid_over
from prorl.registries import entry

if TYPE_CHECKING:
    from prorl.guides.distances import Distances
    from prorl.training import Session


def _ruled(settings: RulesSettings, decoding: Decoding, context: GuideContext) -> Decoding:
    """The rules `decoding`, with those that the guide has of its own."""
    if settings.min_length is None:
        return decoding
    key = f"{context.source}: {context.key}.min_length"
    if not decoding.constrained or settings.min_length > decoding.max_length:
        allowed = f"at most {decoding.max_length}, the longest path" if decoding.constrained else "null"
        where = "" if decoding.constrained else " where decoding.constrained is false"
        raise ConfigError(f"{key}: got {settings.min_length}, allowed{where}: {allowed}")
    return decoding.replace(min_length=settings.min_length)


def _searched(settings: SearchSettings, context: GuideContext) -> dict[str, Any]:
    """What every search is made of."""
    from prorl.simulators.protocol import branching

    name = settings.simulator
    return {
        "simulator": branching(context.simulators[name], name, f"{context.source}: {context.key}.simulator"),
        "decoding": _ruled(settings, context.decoding, context),
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
    try:
        guide = guide.blocking(context.decoding.blocked)
    except ConfigError as error:
        raise ConfigError(f"{context.source}: {context.key}.own_rules: {error}") from error
    if settings.acceptance is not None:
        try:
            guide = guide.told(settings.acceptance)
        except ConfigError as error:
            raise ConfigError(f"{context.source}: {context.key}.{error}") from error
    guide = guide.under(_ruled(settings, guide.catalogue.decoding, context))
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


def _fit_linucb(settings: LinUCBSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.linucb import fit

    return fit(settings, context, session)


def _linucb(settings: LinUCBSettings, context: GuideContext) -> Guide:
    from prorl.guides.linucb import build

    return build(settings, context)


def _fit_off_policy_reinforce(
    settings: OffPolicySettings, context: GuideContext, session: "Session"
) -> dict[str, Any]:
    from prorl.guides.off_policy_reinforce import fit

    return fit(settings, context, session)


def _off_policy_reinforce(settings: OffPolicySettings, context: GuideContext) -> Guide:
    from prorl.guides.off_policy_reinforce import build

    return build(settings, context)


def _fit_dqn(settings: DQNSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.dqn import fit

    return fit(settings, context, session)


def _dqn(settings: DQNSettings, context: GuideContext) -> Guide:
    from prorl.guides.dqn import build

    return build(settings, context)


def _fit_two_critics(
    settings: TwoCriticsSettings, context: GuideContext, session: "Session"
) -> dict[str, Any]:
    from prorl.guides.two_critics import fit

    return fit(settings, context, session)


def _two_critics(settings: TwoCriticsSettings, context: GuideContext) -> Guide:
    from prorl.guides.two_critics import build

    return build(settings, context)


def _fit_utility_tuning(
    settings: UtilityTuningSettings, context: GuideContext, session: "Session"
) -> dict[str, Any]:
    from prorl.guides.utility_tuning import fit

    return fit(settings, context, session)


def _utility_tuning(settings: UtilityTuningSettings, context: GuideContext) -> Guide:
    from prorl.guides.utility_tuning import build

    return build(settings, context)


def _parts(
    settings: ImpatientSettings, context: GuideContext
) -> dict[str, tuple[GuideEntry, Settings, GuideContext]]:
    """The guides that `settings` name to choose from: kind, settings and a context of its own."""
    start, simulators = f"{context.key}.guides", list(context.simulators)
    return {
        name: (
            own.entry,
            own.options[0],
            replace(context, key=f"{start}.{name}", folder=context.folder / name),
        )
        for name, own in _inner(settings, start, simulators, context.source).items()
    }


def _fit_impatient(settings: ImpatientSettings, context: GuideContext, session: "Session") -> dict[str, Any]:
    from prorl.guides.impatient import fit

    return fit(settings, context, session, _parts(settings, context))


def _impatient(settings: ImpatientSettings, context: GuideContext) -> Guide:
    from prorl.guides.impatient import build

    return build(context, _parts(settings, context))


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
    "linucb": GuideEntry(LinUCBSettings, _linucb, _fit_linucb),
    "off_policy_reinforce": GuideEntry(OffPolicySettings, _off_policy_reinforce, _fit_off_policy_reinforce),
    "dqn": GuideEntry(DQNSettings, _dqn, _fit_dqn),
    "two_critics": GuideEntry(TwoCriticsSettings, _two_critics, _fit_two_critics),
    "utility_tuning": GuideEntry(UtilityTuningSettings, _utility_tuning, _fit_utility_tuning),
    "impatient": GuideEntry(ImpatientSettings, _impatient, _fit_impatient),
}


@dataclass(frozen=True)
class Named:
    """The guide `name`: its `kind` as params.yaml names it, what that is, and the settings to choose from,
    more than one where several are tried.
    """

    name: str
    kind: str
    entry: GuideEntry
    options: list[Settings]

    def simulators_named(self, settings: Settings, simulators: Iterable[str]) -> list[str]:
        """Those of `simulators` that `settings` name; all of them for a kind from outside the library, which
        may use any.
        """
        if self.kind not in GUIDES:
            return list(simulators)
        texts = texts_of(settings)
        return [name for name in simulators if name in texts]


def build_guides(names: list[str], section: Section, context: GuideContext) -> dict[str, Guide]:
    """The guides called `names`, by the first of the settings to choose from; none may be a fitted one.

    Raises `ConfigError` for the first mistake in their settings, `DataError` for a policy that does not fit.
    """
    simulators = list(context.simulators)
    read = [read_guide(name, section, simulators, context.source) for name in names]
    return {
        guide.name: guide.entry.build(guide.options[0], context_of(context, guide.name)) for guide in read
    }


def own_kinds(params: Params) -> dict[str, str]:
    """The guides that params.yaml gives a kind, such as `module:attribute`, and that kind.

    A stage that builds written guides reads nothing else of their settings: their folders were made from the
    rest.
    """
    named = params.values(Section, None).items()
    kinds = {name: own.get("kind") for name, own in named if isinstance(own, dict)}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, str)}


def written_guides(
    names: list[str], context: GuideContext, own_kinds: Mapping[str, str] | None = None
) -> dict[str, tuple[Named, Guide]]:
    """The guides called `names`, with the settings and from the files that their stages have written below
    the folder of `context`.

    A kind from outside the library is imported only where it is the one in `own_kinds`, which params.yaml
    states: no module is imported because a folder says so. Raises `DataError` for another one, `ConfigError`
    for settings that the library does not have any more.
    """
    found = {}
    for name in names:
        own = context_of(context, name)
        file = own.folder / GUIDE_FILE
        record = read_json(file)
        kind = record["kind"]
        if kind not in GUIDES and kind != (own_kinds or {}).get(name):
            allowed = f"{', '.join(GUIDES)}, or what params.yaml has as guide.{name}.kind"
            raise DataError(f"{file}: kind: got {kind!r}, allowed: {allowed}")
        entry = _entry(kind, f"{file}: kind")
        settings = build(entry.settings, record["settings"], "settings", str(file))
        guide = Named(name, kind, entry, [settings])
        used = guide.simulators_named(settings, context.simulators)
        own = replace(own, simulators={simulator: context.simulators[simulator] for simulator in used})
        found[name] = guide, entry.build(settings, own)
    return found


def context_of(context: GuideContext, name: str) -> GuideContext:
    """The context of one guide in that of all."""
    return replace(context, key=f"guide.{name}", folder=context.folder / name)


def mistakes(names: list[str], section: Section, simulators: list[str], source: str) -> list[str]:
    """The first mistake in the settings of each of the guides `names`, a line each."""
    found = []
    for name in names:
        try:
            read_guide(name, section, simulators, source)
        except ConfigError as error:
            found.append(str(error))
    return found


def read_guide(
    name: str, section: Section, simulators: list[str], source: str, start: str = "guide"
) -> Named:
    """The guide `name` as its settings in `section` say, which stand in the mapping `start`. Raises
    `ConfigError` for the first mistake in them.

    Its `tried`, mappings that are each laid over its other settings, make the settings to choose from.
    """
    key = f"{start}.{name}"
    if name not in section.named:
        raise ConfigError(f"{source}: {key}: missing; `guides` names it")
    values = dict(section.named[name])
    kind, tried = values.pop("kind", name), values.pop("tried", None)
    if not isinstance(kind, str):
        raise ConfigError(f"{source}: {key}.kind: got {kind!r} ({type(kind).__name__}), allowed: text")
    found = _entry(kind, f"{source}: {key}.kind")
    if tried is None:
        return Named(name, kind, found, [_settings(found, values, key, simulators, source)])
    if not isinstance(tried, list) or not tried or not all(isinstance(changes, dict) for changes in tried):
        raise ConfigError(f"{source}: {key}.tried: got {tried!r}, allowed: a list of mappings, not empty")
    options = [
        _settings(found, laid_over(values, changes), f"{key}.tried[{i}]", simulators, source)
        for i, changes in enumerate(tried)
    ]
    for i, option in enumerate(options):
        if option in options[:i]:
            raise ConfigError(f"{source}: {key}.tried[{i}]: got {tried[i]}, allowed: each settings once")
    return Named(name, kind, found, options)


def _entry(kind: str, key: str) -> GuideEntry:
    found = entry(GUIDES, kind, key)
    if not isinstance(found, GuideEntry):
        raise ConfigError(f"{key}: got {kind!r}, a {type(found).__name__}, allowed: a GuideEntry")
    return found


def _settings(
    entry: GuideEntry, values: dict[str, Any], key: str, simulators: list[str], source: str
) -> Settings:
    settings = build(entry.settings, values, key, source)
    for field in ("simulator", "picked_by"):
        simulator = getattr(settings, field, None)
        if simulator is not None and simulator not in simulators:
            allowed = f"one of `simulators`, {simulators}"
            raise ConfigError(f"{source}: {key}.{field}: got {simulator!r}, allowed: {allowed}")
    if isinstance(settings, ImpatientSettings):
        _inner(settings, f"{key}.guides", simulators, source)
    return settings


def _inner(settings: ImpatientSettings, start: str, simulators: list[str], source: str) -> dict[str, Named]:
    """The guides that `settings` name to choose from, which stand in the mapping `start`."""
    section = build(Section, settings.guides, start, source)
    found = {name: read_guide(name, section, simulators, source, start) for name in section.named}
    for name in found:
        if "tried" in section.named[name]:
            raise ConfigError(f"{source}: {start}.{name}.tried: unknown key; the guide that names it has one")
    return found


def texts_of(settings: Settings) -> set[str]:
    """Every text among the values and keys of `settings`: names of simulators and of other kinds too."""
    return set(_texts(settings.model_dump()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in [*value.keys(), *value.values()]:
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
