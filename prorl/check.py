"""All of params.yaml at once: every section for every data set, and what sections must agree on.

A stage reads its own section alone. What two sections must agree on is said here, before the first stage runs,
and not by the stage that trips over it an hour later.
"""

from collections.abc import Iterator

from prorl.config.decoding import Decoding
from prorl.config.embed import Embed
from prorl.config.finetune import Finetune
from prorl.config.guide import Guide
from prorl.config.mine import Mine
from prorl.config.pretrain import Pretrain
from prorl.config.reduce import Reduce
from prorl.config.section import ConfigError, keys_of, unknown_key
from prorl.config.sections import SECTIONS
from prorl.config.simulator import Simulator
from prorl.guides.registry import mistakes
from prorl.params import Heads, Params


def require(params: Params) -> None:
    """Raises `ConfigError` with the first finding, if there is any."""
    found = findings(params)
    if found:
        raise ConfigError(found[0])


def findings(params: Params) -> list[str]:
    """Every mistake in `params`, a line each, without repeats; sections must be right to be held together."""
    found = [*_names(params), *_sections(params)]
    if not found:
        found = mistakes(params.guides, params.section(Guide), params.simulators, params.source)
        found += [
            f"{params.source}: {text}" for dataset in params.datasets for text in _across(params, dataset)
        ]
    return list(dict.fromkeys(found))


def _names(params: Params) -> Iterator[str]:
    """Sections that are none, and data sets whose name is that of a setting."""
    allowed = [*Heads.model_fields, *SECTIONS]
    for key in params.raw:
        if key not in allowed:
            yield f"{params.source}: {key}: {unknown_key(key, allowed)}"
    for i, dataset in enumerate(params.datasets):
        for section, kind in SECTIONS.items():
            if kind.per_data_set and dataset in keys_of(kind):
                allowed = f"a name that is no setting; {section}.{dataset} is one"
                yield f"{params.source}: datasets[{i}]: got {dataset!r}, allowed: {allowed}"
                break


def _sections(params: Params) -> Iterator[str]:
    """What is wrong within one section."""
    for kind in SECTIONS.values():
        if not kind.per_data_set:
            yield from params.mistakes(kind)
            continue
        yield from params.mistakes(kind)
        for dataset in params.datasets:
            yield from params.mistakes(kind, dataset)


def _across(params: Params, dataset: str) -> Iterator[str]:
    """What two settings do not agree on, without the file's name."""
    decoding, mine = params.section(Decoding), params.section(Mine, dataset)
    embed, reduce = params.section(Embed, dataset), params.section(Reduce, dataset)
    simulator, finetune = params.section(Simulator, dataset), params.section(Finetune, dataset)
    for kind in (Pretrain, Finetune):  # dvc.yaml names the folder of the one simulator as a dependency
        if "simulator" in params.raw[kind.section][dataset]:
            key = f"{kind.section}.simulator"
            yield f"{kind.section}.{dataset}.simulator: allowed only as {key}, for all data sets"
        elif (name := params.section(kind, dataset).simulator) not in params.simulators:
            allowed = f"one of `simulators`, {params.simulators}"
            yield f"{kind.section}.simulator: got {name!r}, allowed: {allowed}"
    if embed.import_ is None and embed.model == "lsa" and reduce.dimension > embed.dimension:
        allowed = f"at most embed.dimension, {embed.dimension}, where embed.model is lsa"
        yield f"reduce.dimension: got {reduce.dimension} for {dataset}, allowed: {allowed}"
    longest = mine.history_length + decoding.max_length
    if simulator.max_length < longest:
        allowed = f"at least mine.history_length + decoding.max_length, {longest}"
        yield f"simulator.max_length: got {simulator.max_length} for {dataset}, allowed: {allowed}"
    yield from _finetuning(finetune, decoding)


def _finetuning(finetune: Finetune, decoding: Decoding) -> Iterator[str]:
    """Fine-tuning agrees with decoding on empty paths and errors, and with itself on its numbers of steps."""
    if (finetune.empty_paths == "forbid") != (decoding.min_length >= 1):
        allowed = "forbid" if decoding.min_length >= 1 else "act or drop"
        where = f"where decoding.min_length is {decoding.min_length}"
        yield f"finetune.empty_paths: got {finetune.empty_paths}, allowed: {allowed} {where}"
    if finetune.stop_on_errors is not None and decoding.constrained:
        allowed = "null where decoding.constrained is true, since there are no errors"
        yield f"finetune.stop_on_errors: got a mapping, allowed: {allowed}"
    if finetune.steps is None:  # the number of steps of an epoch is known once instances are mined
        return
    most = max(1, finetune.steps // 10)
    if finetune.centering != "running" and (finetune.centering_steps or 0) > most:
        allowed = f"at most a tenth of finetune.steps, {most}"
        yield f"finetune.centering_steps: got {finetune.centering_steps}, allowed: {allowed}"
    if finetune.estimator == "a2c" and finetune.a2c.warmup_steps >= finetune.steps:
        allowed = f"less than finetune.steps, {finetune.steps}"
        yield f"finetune.a2c.warmup_steps: got {finetune.a2c.warmup_steps}, allowed: {allowed}"
