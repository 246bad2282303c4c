"""All of params.yaml at once: every section for every data set, and what sections must agree on.

A stage reads its own section alone. What two sections must agree on is said here, before the first stage
runs, and not by the stage that trips over it an hour later. What depends on data, on processes or on a device
is left to the stage.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prorl.agreements import AGREEMENTS
from prorl.config.causal import CausalSection
from prorl.config.embed import Embed
from prorl.config.finetune import Finetune
from prorl.config.guide import Guide
from prorl.config.heads import Heads
from prorl.config.language_model import LanguageModel
from prorl.config.pretrain import Pretrain
from prorl.config.profiles import Profiles
from prorl.config.reduce import Reduce
from prorl.config.release import Release
from prorl.config.section import ConfigError, Section, Settings, keys_of, mistakes, unknown_key
from prorl.config.sections import SECTIONS
from prorl.config.selection import Selection
from prorl.config.similarity import Similarity
from prorl.config.simulator import Simulator
from prorl.guides.registry import mistakes as guide_mistakes
from prorl.params import Params, heads_in
from prorl.registries import names_object

Registries = Mapping[str, Collection[str]]  # a setting, such as `finetune.estimator` -> the names it may have
OPEN = ("finetune.estimator",)  # settings that may also be `module:attribute`
TABLES = {"experiments": "the tables of experiments", "benchmark": "those of `make benchmark`"}  # in reports/
TAKEN = ("states", "popularity")  # what stands beside simulators in results
OPTIONAL: tuple[type[CausalSection | Similarity], ...] = (Similarity, LanguageModel, Profiles)


def require(params: Params, registries: Registries | None = None) -> None:
    """Raises `ConfigError` with the first of `findings`, if there is any."""
    if found := findings(params, registries):
        raise ConfigError(found[0])


def findings(params: Params, registries: Registries | None = None) -> list[str]:
    """Every mistake in `params`, a line each, none twice.

    Names of simulators, estimators and the like are looked up in `registries`; `prorl.names` has the
    library's. They take seconds to import, so a stage that does nothing but check leaves them out.
    """
    found = [*_names(params), *_missing(params)]
    for kind, dataset in _sections(params):
        found += params.mistakes(kind, dataset)
    across = [text for dataset in params.datasets for text in _across(params, dataset)]
    across += registered(params, registries or {})
    if not params.mistakes(Guide):
        found += guide_mistakes(params.guides, params.section(Guide), params.simulators, params.source)
    return list(dict.fromkeys([*found, *(f"{params.source}: {text}" for text in across)]))


def findings_in(raw: dict[str, Any], source: str, registries: Registries | None = None) -> list[str]:
    """Every mistake in the values `raw` of params.yaml; messages name them `source`.

    Where settings outside sections are wrong, these are told, and what is wrong within single sections.
    """
    if not (wrong := mistakes(Heads, heads_in(raw), "", source)):
        return findings(Params(Heads.model_validate(heads_in(raw)), raw, source), registries)

    def names(key: str) -> list[str]:
        value = raw.get(key)
        return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []

    heads = Heads.model_construct(
        datasets=names("datasets"), simulators=names("simulators"), guides=names("guides")
    )
    params = Params(heads, raw, source)
    for kind, dataset in _sections(params):
        wrong += params.mistakes(kind, dataset)
    return list(dict.fromkeys(wrong))


def registered(params: Params, registries: Registries) -> Iterator[str]:
    """Names that the registry of their setting does not have, without the file's name."""
    for setting, registry in registries.items():
        for dataset in params.datasets:
            for where, name in _registered_names(params, setting, dataset):
                from_outside = setting in OPEN and names_object(name)
                if name not in registry and not from_outside:
                    allowed = ", ".join(registry) + (", or module:attribute" if setting in OPEN else "")
                    yield f"{where}: got {name!r} ({type(name).__name__}), allowed: {allowed}"


def _registered_names(params: Params, setting: str, dataset: str) -> Iterator[tuple[str, Any]]:
    """The names that `setting` holds, and how messages name their places.

    A name is the value itself, an entry of a list or a key of a mapping; null is none. A section with
    mistakes gives none, since its values may be anything. A simulator with a `class` in `simulator.<name>` is
    the user's own and in no registry. Guides look after their names themselves, see
    `prorl.guides.registry.mistakes`.
    """
    section, _, key = setting.partition(".")
    if section not in params.raw:
        return
    value = params.raw[section]
    if key:
        kind = SECTIONS[section]
        if params.mistakes(kind, dataset):
            return
        value = params.values(kind, dataset)[key]
    if setting == "fetch.source":
        value = value or dataset
    if isinstance(value, list):
        own = params.raw.get(Simulator.section)
        for i, name in enumerate(value):
            entry = own.get(name) if isinstance(own, dict) else None
            if not (isinstance(entry, dict) and "class" in entry):
                yield f"{setting}[{i}]", name
    elif isinstance(value, dict):
        yield from ((setting, name) for name in value)
    elif value is not None:
        yield setting, value


def _sections(params: Params) -> Iterator[tuple[type[Section], str | None]]:
    """Every section, with each data set where it has entries of data sets."""
    for kind in SECTIONS.values():
        for dataset in params.datasets if kind.per_data_set else [None]:
            yield kind, dataset


def _missing(params: Params) -> Iterator[str]:
    """Keys that a section has for single data sets alone; dvc.yaml names the section's own."""
    for section, kind in SECTIONS.items():
        values = params.raw.get(section)
        if isinstance(values, dict):
            yield from (
                f"{params.source}: {section}.{key}: missing" for key in keys_of(kind) if key not in values
            )


def _names(params: Params) -> Iterator[str]:
    """Sections that are none, and names of data sets and simulators that mean something else already."""
    allowed = [*Heads.model_fields, *SECTIONS]
    for key in params.raw:
        if key not in allowed:
            yield f"{params.source}: {key}: {unknown_key(key, allowed)}"
    settings = {
        key: f"{section}.{key}"
        for section, kind in SECTIONS.items()
        if kind.per_data_set
        for key in keys_of(kind)
    }
    for i, dataset in enumerate(params.datasets):
        where = f"{params.source}: datasets[{i}]: got {dataset!r}, allowed"
        if dataset in settings:
            yield f"{where}: a name that is no setting, as {settings[dataset]} is"
        elif dataset in params.simulators:
            yield f"{where}: a name that is not in `simulators` too"
        elif dataset in TABLES:
            yield f"{where}: a name that leaves reports/{dataset} to {TABLES[dataset]}"
    for i, simulator in enumerate(params.simulators):
        field = Simulator.model_fields.get(simulator)
        if field and not (isinstance(field.annotation, type) and issubclass(field.annotation, Settings)):
            found = f"got {simulator!r}, allowed: a name that is no setting, as simulator.{simulator} is"
            yield f"{params.source}: simulators[{i}]: {found}"
        elif not field and (simulator in TAKEN or hasattr(Simulator, simulator)):
            found = f"got {simulator!r}, allowed: a name that stands for nothing else"
            yield f"{params.source}: simulators[{i}]: {found}"


def _across(params: Params, dataset: str) -> Iterator[str]:
    """What settings do not agree on for `dataset`, without the file's name; of sections without mistakes."""
    sections = {
        kind: params.section(kind, of)
        for kind, of in _sections(params)
        if of in (None, dataset) and not params.mistakes(kind, of)
    }
    for kind in (Reduce, Pretrain, Finetune):
        if kind in sections:
            yield from _simulator_known(params, kind, dataset)
    if Selection in sections and (main := params.section(Selection).simulator) not in params.simulators:
        yield f"selection.simulator: got {main!r}, allowed: one of `simulators`, {params.simulators}"
    if Release in sections:
        yield from _simulator_travels(params, dataset)
    for kind in OPTIONAL:
        if kind in sections:
            yield from _data_sets_known(params, kind, dataset)
    if Embed in sections and "texts" in params.raw[Embed.section][dataset]:
        yield f"embed.{dataset}.texts: allowed only as embed.texts, for all data sets"
    for agree, kinds in AGREEMENTS.items():
        if all(kind in sections for kind in kinds):
            yield from agree(dataset, *(sections[kind] for kind in kinds))


def _simulator_known(params: Params, kind: type[Reduce | Pretrain | Finetune], dataset: str) -> Iterator[str]:
    """The section's simulator is trained, and one for all data sets: dvc.yaml names its folder."""
    name, key = params.section(kind, dataset).simulator, f"{kind.section}.simulator"
    if "simulator" in params.raw[kind.section][dataset]:
        yield f"{kind.section}.{dataset}.simulator: allowed only as {key}, for all data sets"
    elif name not in params.simulators:
        yield f"{key}: got {name!r}, allowed: one of `simulators`, {params.simulators}"


def _simulator_travels(params: Params, dataset: str) -> Iterator[str]:
    """The simulator that a released policy takes along is trained, and one of the library's."""
    name, own = params.section(Release, dataset).simulator, params.raw[Simulator.section]
    if name is None:
        return
    if name not in params.simulators:
        allowed = f"null, or one of `simulators`, {params.simulators}"
        yield f"release.simulator: got {name!r} for {dataset}, allowed: {allowed}"
    elif isinstance(own.get(name), dict) and "class" in own[name]:
        allowed = "null, or a simulator of the library, which needs no code beside it"
        yield f"release.simulator: got {name!r} for {dataset}, allowed: {allowed}"


def _data_sets_known(params: Params, kind: type[CausalSection | Similarity], dataset: str) -> Iterator[str]:
    """The data sets that an optional stage is there for are known; dvc.yaml names the list."""
    if "datasets" in params.raw[kind.section][dataset]:
        allowed = f"{kind.section}.datasets, for all data sets"
        yield f"{kind.section}.{dataset}.datasets: allowed only as {allowed}"
    for name in params.section(kind).datasets:
        if name not in params.datasets:
            yield f"{kind.section}.datasets: got {name!r}, allowed: one of `datasets`, {params.datasets}"
