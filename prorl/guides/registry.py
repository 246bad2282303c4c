"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
A guide's own module is imported when one is built, so that settings are checked at once.
"""

from dataclasses import replace
from typing import Any

from prorl.config.guide import BeamSettings, PolicySettings, SearchSettings
from prorl.config.guide import Guide as Section
from prorl.config.section import ConfigError, Settings, build
from prorl.errors import DataError
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.registries import entry


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
    try:
        guide = guide.blocking(context.decoding.blocked)
    except ConfigError as error:
        raise ConfigError(f"{context.source}: {context.key}.own_rules: {error}") from error
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


GUIDES: dict[str, GuideEntry] = {
    "search": GuideEntry(SearchSettings, _search),
    "beam": GuideEntry(BeamSettings, _beam),
    "policy": GuideEntry(PolicySettings, _policy),
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
