"""All of params.yaml at once: every section for every data set, and what sections must agree on.

A stage reads its own section alone. What two sections must agree on is said here, before the first stage
runs, and not by the stage that trips over it an hour later. What depends on data, on processes or on a device
is left to the stage.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from prorl.config.causal import CausalSection
from prorl.config.decoding import Decoding
from prorl.config.embed import Embed
from prorl.config.fetch import Fetch
from prorl.config.finetune import Finetune
from prorl.config.guardrails import Guardrails
from prorl.config.guide import Guide
from prorl.config.heads import Heads
from prorl.config.language_model import LanguageModel
from prorl.config.mine import Mine
from prorl.config.policy import Policy
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.profiles import Profiles
from prorl.config.reduce import Reduce
from prorl.config.release import Release
from prorl.config.section import ConfigError, Section, Settings, keys_of, mistakes, unknown_key
from prorl.config.sections import SECTIONS
from prorl.config.selection import Selection
from prorl.config.similarity import Similarity
from prorl.config.simulator import Simulator
from prorl.config.validate import Validate
from prorl.guides.registry import mistakes as guide_mistakes
from prorl.params import Params, heads_in
from prorl.registries import names_object

Registries = Mapping[str, Collection[str]]  # a setting, such as `finetune.estimator` -> the names it may have
OPEN = ("finetune.estimator",)  # settings that may also be `module:attribute`
TABLES = {"experiments": "the tables of experiments", "benchmark": "those of `make benchmark`"}  # in reports/
TAKEN = ("states", "popularity")  # what stands beside simulators in results
COLUMNS = {"interactions": ("user", "item", "timestamp"), "items": ("item",)}  # of a tabular source


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

    A name is the value itself, an entry of a list or a key of a mapping. A section with mistakes gives none,
    since its values may be anything. A simulator with a `class` in `simulator.<name>` is the user's own and
    in no registry. Guides look after their names themselves, see `prorl.guides.registry.mistakes`.
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
    else:
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
    for kind in (Pretrain, Finetune):
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


def _simulator_known(params: Params, kind: type[Pretrain] | type[Finetune], dataset: str) -> Iterator[str]:
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


def _transitions_are_judged(
    dataset: str, mine: Mine, similarity: Similarity, language_model: LanguageModel
) -> Iterator[str]:
    """The stage whose verdicts are mined by is there for the data set."""
    for kind in (similarity, language_model):
        judged = mine.import_ is None and mine.feasibility == kind.section
        if judged and dataset not in kind.datasets:
            allowed = f"with {dataset}, which is mined by it"
            yield f"{kind.section}.datasets: got {kind.datasets}, allowed: {allowed}"


def _texts_are_written(dataset: str, embed: Embed, profiles: Profiles) -> Iterator[str]:
    """The stage whose texts are embedded is there for the data set."""
    if embed.texts == "profiles" and dataset not in profiles.datasets:
        allowed = f"with {dataset}, as embed.texts is profiles"
        yield f"profiles.datasets: got {profiles.datasets}, allowed: {allowed}"


def _columns_named(dataset: str, fetch: Fetch, prepare: Prepare) -> Iterator[str]:
    """A tabular source has the columns that it needs."""
    if fetch.source != "tabular":
        return
    for table, needed in COLUMNS.items():
        columns = getattr(prepare.tabular, table)
        for name in needed:
            if columns.get(name) is None:
                yield f"prepare.tabular.{table}.{name}: got null for {dataset}, allowed: the name of a column"


def _split_is_that_of_the_import(dataset: str, prepare: Prepare, mine: Mine) -> Iterator[str]:
    """Simulators are trained on none of the users that imported prompts are of."""
    if mine.import_ is not None and prepare.split_from != mine.import_:
        allowed = f"mine.import, {mine.import_!r}, whose validation and test users no simulator may train on"
        yield f"prepare.split_from: got {prepare.split_from!r} for {dataset}, allowed: {allowed}"


def _no_path_is_cut(dataset: str, mine: Mine, decoding: Decoding) -> Iterator[str]:
    """A mined path, a run without its target, is no longer than paths may be."""
    if mine.max_run > decoding.max_length + 1:
        allowed = f"at most decoding.max_length and the target, {decoding.max_length + 1}"
        yield f"mine.max_run: got {mine.max_run} for {dataset}, allowed: {allowed}"


def _lsa_is_wide_enough(dataset: str, embed: Embed, reduce: Reduce) -> Iterator[str]:
    """LSA gives as many dimensions as it is told, and a reduction keeps at most those."""
    if embed.import_ is None and embed.model == "lsa" and reduce.dimension > embed.dimension:
        allowed = f"at most embed.dimension, {embed.dimension}, where embed.model is lsa"
        yield f"reduce.dimension: got {reduce.dimension} for {dataset}, allowed: {allowed}"


def _simulator_reads_whole_paths(
    dataset: str, mine: Mine, decoding: Decoding, simulator: Simulator
) -> Iterator[str]:
    """A simulator reads a history and the longest path after it."""
    longest = mine.history_length + decoding.max_length
    if simulator.max_length < longest:
        allowed = f"at least mine.history_length + decoding.max_length, {longest}"
        yield f"simulator.max_length: got {simulator.max_length} for {dataset}, allowed: {allowed}"


def _released_start_shares_tokens(dataset: str, finetune: Finetune, policy: Policy) -> Iterator[str]:
    """A released policy has no token ids for targets alone."""
    if finetune.init_from and finetune.init_from.endswith(".pth") and policy.target_tokens != "shared":
        allowed = f"shared where finetune.init_from is a released policy, {finetune.init_from}"
        yield f"policy.target_tokens: got {policy.target_tokens} for {dataset}, allowed: {allowed}"
    if finetune.init_from and finetune.init_from.endswith(".pth") and policy.acceptances:
        allowed = f"empty where finetune.init_from is a released policy, {finetune.init_from}"
        yield f"policy.acceptances: got {policy.acceptances} for {dataset}, allowed: {allowed}"


def _acceptances_are_demonstrated(dataset: str, pretrain: Pretrain, policy: Policy) -> Iterator[str]:
    """What a policy is told has a meaning by the paths it is shown with it."""
    if policy.acceptances and not (pretrain.search.fresh and pretrain.search.share == 1):
        allowed = "empty where pretrain.search is not fresh, or its share is below 1"
        yield f"policy.acceptances: got {policy.acceptances} for {dataset}, allowed: {allowed}"


def _errors_are_possible(_: str, finetune: Finetune, decoding: Decoding) -> Iterator[str]:
    """Fine-tuning says what becomes of empty paths, and of errors, where decoding makes any; and its
    estimator bears them.
    """
    if (finetune.empty_paths == "forbid") != (decoding.min_length >= 1):
        allowed = "forbid" if decoding.min_length >= 1 else "act or drop"
        where = f"where decoding.min_length is {decoding.min_length}"
        yield f"finetune.empty_paths: got {finetune.empty_paths}, allowed: {allowed} {where}"
    if finetune.stop_on_errors is not None and decoding.constrained:
        allowed = "null where decoding.constrained is true, since there are no errors"
        yield f"finetune.stop_on_errors: got a mapping, allowed: {allowed}"
    if finetune.estimator == "expected" and not decoding.constrained:
        allowed = "another where decoding.constrained is false"
        yield f"finetune.estimator: got expected, allowed: {allowed}"


def _only_items_are_blocked(dataset: str, guardrails: Guardrails, decoding: Decoding) -> Iterator[str]:
    """Only paths that are made of items can do without some of them."""
    if decoding.constrained:
        return
    for key in ("blocked_items", "blocked_attributes"):
        if found := getattr(guardrails, key):
            allowed = "[] where decoding.constrained is false"
            yield f"guardrails.{key}: got {found} for {dataset}, allowed: {allowed}"


def _simulator_reads_what_it_is_asked(
    dataset: str, validate: Validate, simulator: Simulator
) -> Iterator[str]:
    """A simulator that is validated reads a history, and all but the last item that it goes on with."""
    longest = validate.history_length + validate.length - 1
    if simulator.max_length < longest:
        allowed = f"at least validate.history_length + validate.length - 1, {longest}"
        yield f"simulator.max_length: got {simulator.max_length} for {dataset}, allowed: {allowed}"


def _warmups_end(_: str, finetune: Finetune) -> Iterator[str]:
    """Centering and a critic leave steps to the policy. An epoch's steps are known to the stage alone."""
    if finetune.steps is None:
        return
    most = max(1, finetune.steps // 10)
    if finetune.centering != "running" and (finetune.centering_steps or 0) > most:
        allowed = f"at most a tenth of finetune.steps, {most}"
        yield f"finetune.centering_steps: got {finetune.centering_steps}, allowed: {allowed}"
    if finetune.estimator == "a2c" and finetune.a2c.warmup_steps >= finetune.steps:
        allowed = f"less than finetune.steps, {finetune.steps}"
        yield f"finetune.a2c.warmup_steps: got {finetune.a2c.warmup_steps}, allowed: {allowed}"


def _centering_meets_every_acceptance(_: str, finetune: Finetune, policy: Policy) -> Iterator[str]:
    """Rewards of every acceptance are centered, so each is told within the warm-up, at every other step.

    A policy that fine-tuning is told to start from has acceptances of its own.
    """
    given, needed = finetune.centering_steps, 2 * (len(policy.acceptances) - 1)
    told_by_these = finetune.init_from is None and finetune.centering != "running"
    if told_by_these and given is not None and given < needed:
        allowed = f"at least {needed}, in which each of policy.acceptances is told once"
        yield f"finetune.centering_steps: got {given}, allowed: {allowed}"


OPTIONAL: tuple[type[CausalSection | Similarity], ...] = (Similarity, LanguageModel, Profiles)
# What does not agree in a data set's settings, and the sections that it is said of.
AGREEMENTS: dict[Callable[..., Iterator[str]], tuple[type[Section], ...]] = {
    _transitions_are_judged: (Mine, Similarity, LanguageModel),
    _texts_are_written: (Embed, Profiles),
    _columns_named: (Fetch, Prepare),
    _split_is_that_of_the_import: (Prepare, Mine),
    _no_path_is_cut: (Mine, Decoding),
    _lsa_is_wide_enough: (Embed, Reduce),
    _simulator_reads_whole_paths: (Mine, Decoding, Simulator),
    _released_start_shares_tokens: (Finetune, Policy),
    _acceptances_are_demonstrated: (Pretrain, Policy),
    _errors_are_possible: (Finetune, Decoding),
    _only_items_are_blocked: (Guardrails, Decoding),
    _simulator_reads_what_it_is_asked: (Validate, Simulator),
    _warmups_end: (Finetune,),
    _centering_meets_every_acceptance: (Finetune, Policy),
}
