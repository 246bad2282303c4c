"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
A guide's own module is imported in the function that builds or fits it, so that settings are checked at once,
and so that it is known which modules a guide's results come from, see `prorl.guides.modules`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from prorl.config.guide import BeamSettings, PolicySettings, SearchSettings
from prorl.config.guide import Guide as Section
from prorl.config.section import ConfigError, Settings, build
from prorl.errors import DataError
from prorl.files import read_json
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.layout import GUIDE_FILE
from prorl.params import laid_over
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


def written_guides(names: list[str], context: GuideContext) -> dict[str, tuple[Named, Guide]]:
    """The guides called `names`, with the settings and from the files that their stages have written below
    the folder of `context`.

    Raises `ConfigError` for settings that the library does not have any more.
    """
    found = {}
    for name in names:
        own = context_of(context, name)
        file = own.folder / GUIDE_FILE
        record = read_json(file)
        entry = _entry(record["kind"], f"{file}: kind")
        settings = build(entry.settings, record["settings"], "settings", str(file))
        guide = Named(name, record["kind"], entry, [settings])
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
    simulator = getattr(settings, "simulator", simulators[0])
    if simulator not in simulators:
        allowed = f"one of `simulators`, {simulators}"
        raise ConfigError(f"{source}: {key}.simulator: got {simulator!r}, allowed: {allowed}")
    return settings


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
