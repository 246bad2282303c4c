"""A policy pre-trained beside a simulator of one's own, which can do nothing but score."""

import sys

import pandas as pd
import pytest

from prorl.config.section import ConfigError
from prorl.files import read_json
from prorl.layout import IDS_FILE, Layout
from prorl.params import Params, laid_over
from prorl.tables import INSTANCES, PROMPTED_INSTANCES, write_table
from tests.policy.test_checkpoints import write_ids
from tests.simulators.test_own import DATASET, N_ITEMS, POPULARITY, stage, write_prepared
from tests.tiny_models import PARAMS, random_catalogue, random_instances

OWN = {"class": "a_users_module:Popularity", "settings": {"smoothing": 0.5}}
SMALL = {
    "simulator": {"Mine": OWN},
    "decoding": {"forbid": [], "min_length": 1, "max_length": 5},
    "policy": {"n_layers": 1, "d_model": 16, "d_ff": 16, "d_kv": 8, "n_heads": 2},
    "pretrain": {
        "simulator": "Mine",
        "max_steps": 2,
        "evaluate_every": 1,
        "batch_size": 4,
        "warmup_steps": 1,
    },
}


def params(share, **more):
    raw = laid_over(PARAMS.raw, laid_over(SMALL, {"pretrain": {"search": {"share": share}}, **more}))
    return Params(PARAMS.heads, raw, "params.yaml")


def write_instances(layout, split, seed):
    found, _ = random_instances(6, N_ITEMS, seed=seed)
    columns = {"user": found.user, "history": list(found.history)}
    columns["run"] = [run[:length] for run, length in zip(found.run, found.length, strict=True)]
    schema = INSTANCES
    if split == "validation":
        columns["random_target"], schema = found.random_target, PROMPTED_INSTANCES
    write_table(layout.instances(split), pd.DataFrame(columns), schema)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The working folder, with all that the stage `pretrain` reads."""
    (tmp_path / "a_users_module.py").write_text(POPULARITY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "a_users_module", raising=False)
    layout = Layout(DATASET)
    write_prepared(layout.prepared)
    for seed, split in enumerate(("train", "validation")):
        write_instances(layout, split, seed)
    layout.semantic_ids.mkdir(parents=True)
    write_ids(layout.semantic_ids / IDS_FILE, random_catalogue(N_ITEMS))
    stage().body(params(0), DATASET, "Mine")
    return layout


def test_without_a_search_it_need_not_branch(workplace):
    stage("pretrain").body(params(0), DATASET)
    found = read_json(workplace.metrics("pretrain"))
    assert found["search"] == {"paths": 0}
    assert found["validation"]["ioi"] == 0
    assert (workplace.policy("pretrained") / "model.safetensors").exists()


def test_with_a_search_it_is_refused(workplace):
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: pretrain\.simulator: got simulator 'Mine' \(Popul"
    ):
        stage("pretrain").body(params(0.5), DATASET)


def test_without_vectors_it_gives_no_embeddings_to_start_from(workplace):
    with pytest.raises(
        ConfigError,
        match=r"^params\.yaml: policy\.embeddings simulator: got simulator 'Mine' .*, allowed: one with",
    ):
        stage("pretrain").body(params(0, policy={"embeddings": "simulator"}), DATASET)
