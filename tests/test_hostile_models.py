"""Stored models on files that are spoilt: read, or one line that names the file."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from prorl.config.decoding import Decoding
from prorl.errors import DataError
from prorl.layout import IDS_FILE
from prorl.policy.checkpoints import load_catalogue, load_policy, save_policy
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.scoring import load_simulator, save_simulator
from tests.hostile import (
    BOUNDED,
    JSON_VALUES,
    Running,
    any_bytes,
    memory_bounded,
    only_declared,
    places,
    with_value,
)
from tests.tiny_models import PARAMS, SIZES, random_catalogue, random_policy, recbole_model

DECODING = PARAMS.section(Decoding)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    catalogue = random_catalogue(12)
    codes = np.array([[i // 4, i % 4] for i in range(12)])
    vocabulary = catalogue.vocabulary
    write_semantic_ids(folder / IDS_FILE, codes, Vocabulary(2, vocabulary.codebook_size))
    saved = load_catalogue(folder / IDS_FILE, DECODING, "separate")
    save_policy(folder / "policy", random_policy(saved), saved, folder / IDS_FILE)
    load_policy(folder / "policy")
    return folder / "policy"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulator") / "SASRec"
    save_simulator(folder, recbole_model("SASRec", 9, 6), "SASRec", SIZES["SASRec"].model_dump(), 6)
    load_simulator(folder)
    return folder


def copy_of(folder, place):
    shutil.rmtree(place / folder.name, ignore_errors=True)
    return Path(shutil.copytree(folder, place / folder.name))


FILES = {
    "policy": ["config.json", "prorl.json", "model.safetensors"],
    "simulator": ["config.json", "model.safetensors"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in FILES.items() for name in names])
def test_a_spoilt_model_is_loaded_or_refused_in_one_line(kind, name, request, tmp_path):
    folder = request.getfixturevalue(kind)
    load = load_policy if kind == "policy" else load_simulator
    own, good = copy_of(folder, tmp_path), (folder / name).read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        (own / name).write_bytes(content)
        with only_declared(tmp_path), memory_bounded(512):
            load(own)

    spoilt()
    if name.endswith("json"):
        config = json.loads(good)
        ways = [place for place in places(config) if place]

        @BOUNDED
        @given(
            st.sampled_from(ways),
            st.one_of(JSON_VALUES, st.sampled_from([0, -1, 10**9, 10**30, "x", None, []])),
        )
        def replaced(place, value):
            (own / name).write_text(json.dumps(with_value(config, place, value)))
            with only_declared(tmp_path), memory_bounded(512):
                load(own)

        replaced()


@pytest.mark.parametrize("kind", ["policy", "simulator"])
def test_a_pickle_in_place_of_weights_is_refused_and_nothing_is_run(kind, request, tmp_path):
    own, ran = copy_of(request.getfixturevalue(kind), tmp_path), tmp_path / "ran"
    load = load_policy if kind == "policy" else load_simulator
    for content in (pickle.dumps(Running(ran)), b"PK\x03\x04"):
        (own / "model.safetensors").write_bytes(content)
        with pytest.raises(DataError, match=r"model.safetensors: not readable as safetensors: .*; allowed"):
            load(own)
    torch.save({"model": Running(ran)}, own / "model.safetensors")
    with pytest.raises(DataError, match=r"model.safetensors: not readable as safetensors"):
        load(own)
    (own / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model.safetensors: no such file"):
        load(own)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {**w, "more": torch.zeros(1)},
            r"does not fit config.json: weight 'more' belongs to no part",
        ),
        (lambda w: dict(list(w.items())[1:]), r"does not fit config.json: weight '.*' is missing"),
        (
            lambda w: {k: v[..., :-1].contiguous() for k, v in w.items()},
            r"does not fit config.json: .* has shape",
        ),
        (
            lambda w: {k: v * torch.nan for k, v in w.items()},
            r"weight '.*' holds a number that is not finite",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["policy", "simulator"])
def test_weights_of_another_architecture_are_named(kind, change, message, request, tmp_path):
    own = copy_of(request.getfixturevalue(kind), tmp_path)
    save_file(change(load_file(own / "model.safetensors")), own / "model.safetensors")
    with pytest.raises(DataError, match=f"model.safetensors: {message}"):
        (load_policy if kind == "policy" else load_simulator)(own)
