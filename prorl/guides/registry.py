"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
A guide's own module is imported when one is built, so that settings are checked at once.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prorl.config.guide import BeamSettings, PolicySettings, SearchSettings
from prorl.config.guide import Guide as Section
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
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.registries import entry

if TYPE_CHECKING:
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
        name: (*own, replace(context, key=f"{start}.{name}", folder=context.folder / name))
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
    "linucb": GuideEntry(LinUCBSettings, _linucb, _fit_linucb),
    "off_policy_reinforce": GuideEntry(OffPolicySettings, _off_policy_reinforce, _fit_off_policy_reinforce),
    "dqn": GuideEntry(DQNSettings, _dqn, _fit_dqn),
    "two_critics": GuideEntry(TwoCriticsSettings, _two_critics, _fit_two_critics),
    "utility_tuning": GuideEntry(UtilityTuningSettings, _utility_tuning, _fit_utility_tuning),
    "impatient": GuideEntry(ImpatientSettings, _impatient, _fit_impatient),
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


def _read(
    name: str, section: Section, simulators: list[str], source: str, start: str = "guide"
) -> tuple[GuideEntry, Settings]:
    """The kind of the guide `name` and its settings, which stand in the mapping `start`."""
    key = f"{start}.{name}"
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
    if isinstance(settings, ImpatientSettings):
        _inner(settings, f"{key}.guides", simulators, source)
    return found, settings


def _inner(
    settings: ImpatientSettings, start: str, simulators: list[str], source: str
) -> dict[str, tuple[GuideEntry, Settings]]:
    """Kind and settings of each of the guides that `settings` name, which stand in the mapping `start`."""
    section = build(Section, settings.guides, start, source)
    return {name: _read(name, section, simulators, source, start) for name in section.named}
