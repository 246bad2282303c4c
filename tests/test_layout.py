"""The paths that dvc.yaml names against those of `Layout`, which for that reason no stage depends on."""

import inspect

import pytest

from prorl.layout import IDS_FILE, Layout
from prorl.presets import round_trip_yaml
from prorl.tables import SPLITS
from tools.stage_dependencies import DVC_FILE, is_module

STAGES = round_trip_yaml().load(DVC_FILE)["stages"]
LAYOUT = Layout("${item.dataset}")
SIMULATOR, GUIDE = "${item.simulator}", "${item.guide}"
TABLES = (LAYOUT.interactions, LAYOUT.items)
SPLIT = {split: LAYOUT.instances(split) for split in SPLITS}


def trained(name):
    """The curves that a training writes."""
    return [LAYOUT.curves(name) / "metrics.json", LAYOUT.curves(name) / "plots/metrics"]


OUTS = {
    "inputs": [
        *map(LAYOUT.inputs, ("fetch", "prepare", "mine", "language_model", "profiles", "embed")),
        *map(LAYOUT.inputs, ("reduce", "quantize")),
        LAYOUT.simulator_inputs,
        *map(LAYOUT.inputs, ("pretrain", "finetune")),
        LAYOUT.guide_inputs,
        LAYOUT.inputs("evaluate"),
    ],
    "fetch": [LAYOUT.raw],
    "prepare": [LAYOUT.interactions, LAYOUT.items, LAYOUT.splits, LAYOUT.metrics("prepare")],
    "similarity": [LAYOUT.verdicts("similarity"), LAYOUT.metrics("similarity")],
    "language_model": [LAYOUT.verdicts("language_model"), LAYOUT.metrics("language_model")],
    "profiles": [LAYOUT.texts("profiles"), LAYOUT.metrics("profiles")],
    "mine": [*SPLIT.values(), LAYOUT.metrics("mine")],
    "embed": [LAYOUT.embeddings],
    "reduce": [LAYOUT.reduced],
    "quantize": [LAYOUT.semantic_ids, LAYOUT.metrics("quantize")],
    "simulator": [
        LAYOUT.simulator(SIMULATOR),
        LAYOUT.metrics(f"simulator/{SIMULATOR}"),
        *trained(f"simulator/{SIMULATOR}"),
    ],
    "validate": [LAYOUT.metrics(f"validate/{SIMULATOR}")],
    "pretrain": [LAYOUT.policy("pretrained"), LAYOUT.metrics("pretrain"), *trained("pretrain")],
    "finetune": [LAYOUT.policy("prorl"), LAYOUT.metrics("finetune"), *trained("finetune")],
    "guide": [LAYOUT.guide(GUIDE)],
    "evaluate": [
        LAYOUT.per_prompt,
        *(LAYOUT.metrics(name) for name in ("evaluation", "validation", "lengths", "comparison", "frontier")),
    ],
    "gate": [LAYOUT.metrics("gate")],
    "release": [LAYOUT.all_released],
    "report": [
        *(LAYOUT.page, LAYOUT.guides_page),
        *map(LAYOUT.metrics, ("guides", "plots/frontier", "plots/calibration", "summary")),
    ],
}
DEPS = {
    "inputs": [],
    "fetch": [LAYOUT.inputs("fetch")],
    "prepare": [LAYOUT.raw, LAYOUT.inputs("prepare")],
    "similarity": [LAYOUT.interactions, LAYOUT.items, LAYOUT.embeddings],
    "language_model": [LAYOUT.interactions, LAYOUT.items, LAYOUT.inputs("language_model")],
    "mine": [LAYOUT.prepared, LAYOUT.inputs("mine")],  # the tables, and verdicts where there are any
    "profiles": [LAYOUT.items, LAYOUT.inputs("profiles")],
    "embed": [LAYOUT.texts("${embed.texts}"), LAYOUT.inputs("embed")],
    "reduce": [LAYOUT.embeddings, LAYOUT.simulator("${reduce.simulator}"), LAYOUT.inputs("reduce")],
    "quantize": [LAYOUT.items, LAYOUT.reduced, LAYOUT.inputs("quantize")],
    "simulator": [*TABLES, LAYOUT.splits, LAYOUT.inputs(f"simulator/{SIMULATOR}")],
    "validate": [
        *(LAYOUT.prepared, LAYOUT.simulator(SIMULATOR), LAYOUT.inputs(f"simulator/{SIMULATOR}")),
    ],
    "pretrain": [
        *TABLES,
        *(SPLIT["train"], SPLIT["validation"], LAYOUT.semantic_ids / IDS_FILE),
        *(LAYOUT.simulator("${pretrain.simulator}"), LAYOUT.inputs("pretrain")),
    ],
    "finetune": [
        *TABLES,
        *(SPLIT["train"], SPLIT["validation"], LAYOUT.semantic_ids),
        *(LAYOUT.simulator("${finetune.simulator}"), LAYOUT.policy("pretrained"), LAYOUT.inputs("finetune")),
    ],
    "guide": [
        *(LAYOUT.prepared, SPLIT["train"], SPLIT["validation"], LAYOUT.simulators),
        LAYOUT.inputs(f"guide/{GUIDE}"),
    ],
    "evaluate": [
        *(LAYOUT.prepared, *SPLIT.values(), LAYOUT.simulators),
        *(LAYOUT.policy("pretrained"), LAYOUT.policy("prorl"), LAYOUT.guides, LAYOUT.inputs("evaluate")),
    ],
    "gate": [LAYOUT.items, LAYOUT.per_prompt, LAYOUT.metrics("validation")],
    "release": [
        *(LAYOUT.items, LAYOUT.simulators, LAYOUT.policy("pretrained"), LAYOUT.policy("prorl")),
        *map(LAYOUT.metrics, ("prepare", "mine")),
        *(LAYOUT.metrics(f"validate/{SIMULATOR}").parent, *map(LAYOUT.metrics, ("evaluation", "gate"))),
    ],
    "report": [
        LAYOUT.semantic_ids / IDS_FILE,
        *(LAYOUT.items, LAYOUT.per_prompt, *map(LAYOUT.metrics, ("prepare", "mine", "quantize"))),
        *(
            LAYOUT.metrics(f"simulator/{SIMULATOR}").parent,
            LAYOUT.metrics("pretrain"),
            LAYOUT.metrics("finetune"),
        ),
        LAYOUT.all_curves,
        *(LAYOUT.metrics(name) for name in ("evaluation", "validation", "lengths", "comparison", "frontier")),
        *(LAYOUT.guides, LAYOUT.metrics(f"validate/{SIMULATOR}").parent, LAYOUT.metrics("gate")),
    ],
}
# What stages keep to themselves: DVC may not know it, or knows the folder it lies in.
PRIVATE = {
    *("reports", "checkpoints", "runtime", "outside_checksums", "downloaded_checksums"),
    *("reduced_vectors", "pca", "said", "kept_guides", "kept_judgements", "released"),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_what_layout_says(name):
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for kind in ("outs", "metrics", "plots")
        for out in STAGES[name].get(kind, [])
    ]
    assert outs == list(map(str, OUTS[name]))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_reads_what_layout_says(name):
    script, *deps = [dep for dep in STAGES[name]["deps"] if not is_module(dep)]
    assert script == f"stages/{name}.py"
    assert [dep for dep in deps if not dep.startswith("prorl/")] == list(map(str, DEPS[name]))


def test_every_path_of_layout_is_one_of_dvc_yaml_or_private():
    """Each member is named in the tables above, so that a new one is held to dvc.yaml too."""
    members = {name for name, _ in inspect.getmembers(Layout) if not name.startswith("_")} - {"dataset"}
    source = inspect.getsource(inspect.getmodule(test_every_path_of_layout_is_one_of_dvc_yaml_or_private))
    assert {name for name in members if f"LAYOUT.{name}" not in source} == PRIVATE


def test_what_is_private_lies_where_git_or_dvc_does_not_mistake_it_for_a_result():
    own = Layout("own")
    assert str(own.runtime) == "reports/own/runtime.json"
    assert str(own.downloaded_checksums) == "reports/own/checksums.json"
    assert str(own.checkpoints("embed")) == ".checkpoints/embed-own"
    assert str(own.outside_checksums) == ".cache/outside-own.json"
    assert str(own.said) == ".cache/said-own.sqlite"
    assert own.verdicts("similarity").parent == own.items.parent == own.prepared
    assert own.texts("prepared") == own.items
    assert own.reduced_vectors.parent == own.pca.parent == own.reduced
    assert own.released("prorl").parent == own.all_released
