"""Both quantisers on clustered vectors: determinism, round trips, few distinct vectors, unique codes."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from prorl.config.embed import Embed, EmbeddingImport
from prorl.config.quantize import RQVAE, Quantize
from prorl.config.reduce import Reduce
from prorl.config.section import ConfigError
from prorl.errors import DataError, TrainingError
from prorl.semantic_ids.quantisers import QUANTISERS, provenance, semantic_ids
from prorl.semantic_ids.residual import nearest, reconstruct, residual_codes
from prorl.semantic_ids.rq_kmeans import fit_codebooks
from prorl.semantic_ids.rq_vae import reseed_dead_codes
from prorl.semantic_ids.statistics import code_statistics, reconstruction_error

SETTINGS = Quantize(
    import_=None,
    datamaps=None,
    method="rq_kmeans",
    n_codebooks=3,
    codebook_size=16,
    expand_final=True,
    balanced=False,
    n_restarts=2,
    minibatch_above=1000,
    rq_vae=RQVAE(
        hidden_sizes=[32], latent_size=8, commitment=0.25, steps=300, batch_size=64, learning_rate=3e-3
    ),
)


def clustered(n: int, n_clusters: int, width: int, seed: int = 0) -> np.ndarray:
    """Vectors [n, width] around `n_clusters` centres."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(n_clusters, width))
    return (centres[rng.integers(n_clusters, size=n)] + rng.normal(size=(n, width))).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return clustered(500, 12, 10)


def test_an_rq_vae_whose_loss_is_not_finite_is_refused(vectors):
    settings = SETTINGS.replace(method="rq_vae", rq_vae=SETTINGS.rq_vae.replace(learning_rate=1e30))
    with pytest.raises(
        TrainingError,
        match=r"the RQ-VAE's loss is (nan|inf), at step \d+; quantize.rq_vae.learning_rate is 1e\+30",
    ):
        QUANTISERS["rq_vae"](vectors, settings, 7)


@pytest.mark.parametrize("method", QUANTISERS)
@pytest.mark.parametrize("balanced", [False, True])
def test_a_quantiser_repeats_itself_and_reconstructs(vectors, method, balanced):
    settings = SETTINGS.replace(method=method, balanced=balanced)
    one, other = (QUANTISERS[method](vectors, settings, 7) for _ in range(2))
    np.testing.assert_array_equal(one.codes, other.codes)
    assert set(one.tensors) == set(other.tensors) >= {"codebook_0", "codebook_1", "codebook_2"}
    assert all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert one.codes.shape == (500, 3)
    assert one.codes.min() >= 0
    assert one.codes.max() < 16
    assert one.reconstruction.shape == vectors.shape
    assert reconstruction_error(vectors, one.reconstruction) < 0.15
    statistics = code_statistics(one.codes)
    assert all(statistics[f"level_{level}"]["perplexity"] > 8 for level in (1, 2, 3))


@pytest.mark.parametrize("method", QUANTISERS)
def test_balanced_codes_collide_less(vectors, method):
    by_nearness, balanced = (
        code_statistics(
            QUANTISERS[method](vectors, SETTINGS.replace(method=method, balanced=balanced), 7).codes
        )
        for balanced in (False, True)
    )
    assert balanced["distinct_share"] > by_nearness["distinct_share"]
    assert balanced["largest_group"] < by_nearness["largest_group"]


def test_codes_to_vectors_to_codes(vectors):
    codebooks = fit_codebooks(vectors, SETTINGS, 7)
    codes = residual_codes(vectors, codebooks, balanced=False)
    np.testing.assert_array_equal(nearest(vectors, codebooks[0]), codes[:, 0])
    errors = [
        reconstruction_error(vectors, reconstruct(codes[:, :levels], codebooks[:levels]))
        for levels in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_the_same_bits_whatever_the_number_of_threads(vectors, tmp_path):
    np.save(tmp_path / "vectors.npy", vectors)
    code = (
        "import sys, hashlib, numpy as np;"
        "from prorl.config.quantize import Quantize;"
        "from prorl.semantic_ids.rq_kmeans import rq_kmeans;"
        f"settings = Quantize.model_validate({SETTINGS.model_dump()!r});"
        "q = rq_kmeans(np.load(sys.argv[1]), settings, 7);"
        "tensors = b''.join(q.tensors[name].tobytes() for name in sorted(q.tensors));"
        "print(hashlib.sha256(q.codes.tobytes() + tensors).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "vectors.npy")]
    outputs = {
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("method", QUANTISERS)
def test_fewer_distinct_vectors_than_codes(method):
    vectors = np.repeat(clustered(5, 5, 6), 3, axis=0)
    settings = SETTINGS.replace(method=method)
    codes, quantised = semantic_ids(vectors, [str(i) for i in range(15)], settings, 7)
    np.testing.assert_array_equal(codes[:, 3], [1, 2, 3] * 5)
    assert len(np.unique(quantised.codes, axis=0)) == 5
    assert len(quantised.tensors["codebook_0"]) == 5
    assert reconstruction_error(vectors, quantised.reconstruction) < 0.05


def test_equal_vectors_without_a_final_code_are_told_apart_or_refused():
    vectors = np.repeat(clustered(20, 5, 6), 2, axis=0)
    raw_ids = [f"item-{i}" for i in range(40)]
    settings = SETTINGS.replace(expand_final=False)
    with pytest.raises(
        DataError, match=r"items 'item-0' and 'item-1' have the same codes \[.*\]; set quantize.expand_final"
    ):
        semantic_ids(vectors, raw_ids, settings, 7)
    codes, _ = semantic_ids(vectors, raw_ids, settings.replace(balanced=True, n_codebooks=2), 7)
    assert len(np.unique(codes, axis=0)) == 40


def test_an_unknown_quantiser_is_one_line_that_names_those_there_are(vectors):
    message = "params.yaml: quantize.method: got 'rq_kmean' (str), allowed: rq_kmeans, rq_vae"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        semantic_ids(vectors[:1], ["a"], SETTINGS.replace(method="rq_kmean"), 7)


def test_as_many_vectors_as_items(vectors):
    with pytest.raises(DataError, match="500 reduced vectors for 3 items"):
        semantic_ids(vectors, ["a", "b", "c"], SETTINGS, 7)


def test_imported_codes_take_the_place_of_a_quantiser(vectors, tmp_path):
    (tmp_path / "codes.json").write_text(json.dumps({"b": [0, 1, 2, 1], "a": [0, 1, 2, 2], "dropped": [1]}))
    codes, quantised = semantic_ids(
        vectors[:2], ["a", "b"], SETTINGS.replace(import_=str(tmp_path / "codes.json")), 7
    )
    assert codes.tolist() == [[0, 1, 2, 2], [0, 1, 2, 1]]
    assert quantised is None


def test_imported_codes_without_a_last_get_one(vectors, tmp_path):
    path = tmp_path / "codes.json"
    path.write_text(json.dumps({"a": [0, 1, 2], "b": [0, 1, 3], "c": [0, 1, 2], "dropped": [1]}))
    settings = SETTINGS.replace(import_=str(path), expand_final=True)
    codes, quantised = semantic_ids(vectors[:3], ["a", "b", "c"], settings, 7)
    assert codes.tolist() == [[0, 1, 2, 1], [0, 1, 3, 1], [0, 1, 2, 2]]
    assert quantised is None
    with pytest.raises(DataError, match="items 'a' and 'c' have the same codes"):
        semantic_ids(vectors[:3], ["a", "b", "c"], settings.replace(expand_final=False), 7)
    path.write_text(json.dumps({"a": [0, 1, 2], "b": [0, 1, 9999]}))
    with pytest.raises(DataError, match=r"item 'b': got codes \[0, 1, 9999\], allowed: 0.."):
        semantic_ids(vectors[:2], ["a", "b"], settings, 7)
    path.write_text(json.dumps({"a": [0, 1, 2], "b": [0, 1, 2, 1]}))
    with pytest.raises(DataError, match=r"item 'a': got .*, allowed: a list of 4 whole numbers"):
        semantic_ids(vectors[:2], ["a", "b"], settings, 7)


def test_provenance_names_models_and_imported_files():
    vectors = EmbeddingImport(vectors="made/elsewhere.npy", items="made/items.json")
    embed = Embed(
        import_=None,
        texts="prepared",
        model="lsa",
        dimension=3,
        batch_size=1,
        max_tokens=1,
        precision="float32",
    )
    alone = Reduce(dimension=3, whiten=True, mapped_above=1, simulator="SASRec", collaborative=0)
    beside = alone.replace(collaborative=0.5)
    expected = {"embedding_model": "lsa", "beside_embeddings": None, "quantiser": "rq_kmeans"}
    assert provenance(embed, alone, SETTINGS) == expected
    assert provenance(embed, beside, SETTINGS) == expected | {"beside_embeddings": "SASRec"}
    assert (
        provenance(embed.replace(import_=vectors), alone, SETTINGS)["embedding_model"]
        == "imported from elsewhere.npy"
    )
    assert provenance(embed, beside, SETTINGS.replace(import_="made/codes.json")) == {
        "embedding_model": "unknown, semantic IDs imported from codes.json",
        "beside_embeddings": None,
        "quantiser": "imported from codes.json",
    }


def test_dead_codes_become_random_residuals():
    import torch

    codebook, residuals = torch.zeros(4, 2), torch.arange(1.0, 7.0).reshape(3, 2)
    reseed_dead_codes(
        codebook, residuals, torch.tensor([True, False, True, False]), torch.Generator().manual_seed(0)
    )
    assert codebook[0].tolist() == codebook[2].tolist() == [0, 0]
    assert all(codebook[code].tolist() in residuals.tolist() for code in (1, 3))


def test_a_vector_that_is_not_finite_is_named():
    vectors = clustered(5, 2, 3)
    vectors[3, 1], vectors[4, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"2 of 5 reduced vectors hold a number .* that of item 'd'"):
        semantic_ids(vectors, list("abcde"), SETTINGS, 7)


def test_imported_codes_by_internal_ids_lead_through_the_maps(tmp_path):
    (tmp_path / "x.sem_ids").write_text(json.dumps({"1": [0, 1], "2": [3, 2], "3": [1, 1]}))
    (tmp_path / "x.datamaps").write_text(json.dumps({"id2item": {"1": "b", "2": "a", "3": "dropped"}}))
    settings = SETTINGS.replace(
        import_=str(tmp_path / "x.sem_ids"),
        datamaps=str(tmp_path / "x.datamaps"),
        n_codebooks=2,
        expand_final=False,
    )
    codes, quantised = semantic_ids(np.zeros((2, 3)), ["a", "b"], settings, 7)
    assert (codes.tolist(), quantised) == ([[3, 2], [0, 1]], None)
    for maps, message in (
        ({"id2item": {"1": "b", "2": "a"}}, r"x.sem_ids: item '3' is unknown, allowed: one of id2item in"),
        ({"item2id": {}}, r"x.datamaps: 'id2item' is missing"),
    ):
        (tmp_path / "x.datamaps").write_text(json.dumps(maps))
        with pytest.raises(DataError, match=message):
            semantic_ids(np.zeros((2, 3)), ["a", "b"], settings, 7)
