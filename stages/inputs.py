"""Checksums of the files outside the repository that other stages read; always run, and first to check
params.yaml: `python stages/inputs.py <dataset>`.
"""

import os
import sys
from pathlib import Path

from prorl.code import ROOT
from prorl.config.embed import Embed
from prorl.config.fetch import Fetch
from prorl.config.finetune import Finetune
from prorl.config.guide import Guide
from prorl.config.language_model import LanguageModel
from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.profiles import Profiles
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.config.simulator import Simulator
from prorl.files import atomic_file
from prorl.guides.folders import left_behind
from prorl.layout import CHECKED, Layout
from prorl.outside import (
    Checksums,
    of_causal,
    of_embed,
    of_fetch,
    of_files,
    of_guides,
    of_objects,
    of_prepare,
    of_released,
    record,
    remove_others,
    state_of,
)
from prorl.params import PARAMS_FILE, Params
from prorl.runtime import run_stage


def body(params: Params, dataset: str) -> None:
    """Check params.yaml, then write one file per stage that reads outside files."""
    classes = of_objects(params.raw)
    require_right(params, [outside.path for outside in classes if outside.path is not None], dataset)
    if found := list(left_behind(params)):
        sys.exit("\n".join(f"inputs@{dataset}: {finding}" for finding in found))
    layout, archives = Layout(dataset), os.environ.get("PRORL_ARCHIVES")
    users = params.values(Simulator, dataset)
    quantize = params.section(Quantize, dataset)
    pretrain, finetune = params.section(Pretrain, dataset), params.section(Finetune, dataset)
    outsides = {
        "fetch": of_fetch(dataset, params.section(Fetch, dataset), Path(archives) if archives else None),
        "prepare": of_prepare(params.section(Prepare, dataset)),
        "mine": of_released(params.section(Mine, dataset).import_),
        "language_model": of_causal(params.section(LanguageModel, dataset), dataset),
        "profiles": of_causal(params.section(Profiles, dataset), dataset),
        "embed": of_embed(params.section(Embed, dataset)),
        "reduce": of_objects(users.get(params.section(Reduce, dataset).simulator)),
        "quantize": of_files(quantize.import_, quantize.datamaps),
        **{f"simulator/{name}": of_objects(users.get(name)) for name in params.simulators},
        "pretrain": of_objects(pretrain.model_dump(), users.get(pretrain.simulator)),
        "finetune": [
            *of_files(finetune.init_from),
            *of_objects(finetune.model_dump(), users.get(finetune.simulator)),
        ],
        **{f"guide/{name}": of_guides(params.section(Guide), [name]) for name in params.guides},
        "evaluate": [
            *of_guides(params.section(Guide), params.guides),
            *of_objects(*(users.get(name) for name in params.simulators)),
        ],
    }
    checksums = Checksums(layout.outside_checksums)
    for stage, files in outsides.items():
        record(layout.inputs(stage), files, checksums)
    remove_others(layout.simulator_inputs, params.simulators)
    remove_others(layout.guide_inputs, params.guides)
    checksums.save()


def require_right(params: Params, classes: list[Path], dataset: str) -> None:
    """End the run with all findings in params.yaml, a line each.

    Settings that were right are checked again once params.yaml, the library or one of `classes`, the files
    with classes of one's own, has changed.
    """
    state = state_of([PARAMS_FILE, *(ROOT / "prorl").rglob("*.py"), *classes])
    if CHECKED.exists() and CHECKED.read_text(encoding="utf-8") == state:
        return
    from prorl.names import every_finding  # takes seconds to import

    if found := every_finding(params.raw, params.source):
        sys.exit("\n".join(f"inputs@{dataset}: {finding}" for finding in found))
    with atomic_file(CHECKED) as temporary:
        temporary.write_text(state, encoding="utf-8")


if __name__ == "__main__":
    run_stage("inputs", body)
