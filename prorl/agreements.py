"""What two sections of params.yaml must agree on, for one data set: functions that tell what does not."""

from collections.abc import Callable, Iterator

from prorl.config.decoding import Decoding
from prorl.config.embed import Embed
from prorl.config.fetch import Fetch
from prorl.config.finetune import Finetune
from prorl.config.guardrails import Guardrails
from prorl.config.language_model import LanguageModel
from prorl.config.mine import Mine
from prorl.config.policy import Policy
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.profiles import Profiles
from prorl.config.reduce import Reduce
from prorl.config.section import Section
from prorl.config.similarity import Similarity
from prorl.config.simulator import Simulator
from prorl.config.validate import Validate

COLUMNS = {"interactions": ("user", "item", "timestamp"), "items": ("item",)}  # of a tabular source


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
    """A released policy has token ids for the codes of semantic IDs, and none for those of targets alone."""
    if finetune.init_from and finetune.init_from.endswith(".pth") and policy.identifiers != "semantic":
        allowed = f"semantic where finetune.init_from is a released policy, {finetune.init_from}"
        yield f"policy.identifiers: got {policy.identifiers} for {dataset}, allowed: {allowed}"
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


def _own_paths_are_made_of_items(_: str, pretrain: Pretrain, decoding: Decoding) -> Iterator[str]:
    """Only a path that is made of items can be weighed by a search."""
    search = pretrain.search
    if search.share > 0 and search.own_paths_after is not None and not decoding.constrained:
        allowed = "null where decoding.constrained is false"
        yield f"pretrain.search.own_paths_after: got {search.own_paths_after}, allowed: {allowed}"


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
    _own_paths_are_made_of_items: (Pretrain, Decoding),
    _errors_are_possible: (Finetune, Decoding),
    _only_items_are_blocked: (Guardrails, Decoding),
    _simulator_reads_what_it_is_asked: (Validate, Simulator),
    _warmups_end: (Finetune,),
    _centering_meets_every_acceptance: (Finetune, Policy),
}
