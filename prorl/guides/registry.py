"""All kinds of guides by name, and the guides of params.yaml built from them.

`guides` in params.yaml lists names, and `guide.<name>` holds the settings of each. Its kind is the name
itself or `kind`: an entry of `GUIDES`, or `module:attribute` for a `GuideEntry` from outside the library.
The modules of `prorl.guides.kinds` hold the entries. There a guide's own module is imported in the function
that builds or fits it, so that settings are checked at once, and so that it is known which modules a guide's
results come from, see `prorl.guides.modules`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prorl.config.guide import Guide as Section
from prorl.config.rivals import ImpatientSettings
from prorl.config.section import ConfigError, Settings, build
from prorl.errors import DataError
from prorl.files import read_json
from prorl.guide import Guide, GuideContext, GuideEntry
from prorl.guides.kinds.floors import FLOORS
from prorl.guides.kinds.proactive import PROACTIVE
from prorl.guides.kinds.rivals import RIVALS
from prorl.guides.kinds.searches import SEARCHES
from prorl.layout import GUIDE_FILE
from prorl.params import Params, laid_over
from prorl.registries import entry

GUIDES: dict[str, GuideEntry] = {**SEARCHES, **FLOORS, **PROACTIVE, **RIVALS}


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
        choices(settings, f"{key}.guides", simulators, source)
    return settings


def choices(settings: ImpatientSettings, start: str, simulators: list[str], source: str) -> dict[str, Named]:
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
