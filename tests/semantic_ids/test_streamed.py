"""Residual k-means of vectors read part by part: against the one in memory, by hand, and on disk."""

import numpy as np
import pytest

from prorl.config.quantize import RQVAE, Quantize
from prorl.items.matrices import read_matrix, write_matrix
from prorl.semantic_ids import streamed
from prorl.semantic_ids.quantisers import QUANTISERS, semantic_ids
from prorl.semantic_ids.residual import reconstruct, residual_codes
from prorl.semantic_ids.rq_kmeans import fit_codebooks
from prorl.semantic_ids.statistics import quantised_error, reconstruction_error
from prorl.semantic_ids.streamed import moved

SETTINGS = Quantize(
    import_=None,
    datamaps=None,
    method="rq_kmeans",
    n_codebooks=2,
    codebook_size=16,
    expand_final=True,
    balanced=False,
    n_restarts=2,
    minibatch_above=1000,
    rq_vae=RQVAE(hidden_sizes=[8], latent_size=4, commitment=0.25, steps=1, batch_size=8, learning_rate=1e-3),
)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(40, 10))
    return (centres[rng.integers(40, size=6000)] + 0.3 * rng.normal(size=(6000, 10))).astype(np.float32)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(streamed, "CHUNK", 700)
    monkeypatch.setattr(streamed, "BATCH", 512)
    monkeypatch.setattr(streamed, "SAMPLED", 64)


def test_codes_move_to_the_mean_of_the_vectors_they_stand_for():
    codebook, counts = np.array([[0.0], [10.0], [99.0]]), np.array([2, 1, 0])
    moved(codebook, counts, np.array([[3.0], [3.0], [8.0]], dtype=np.float32))
    np.testing.assert_allclose(codebook, [[1.5], [9.0], [99.0]])  # (0 + 0 + 3 + 3) / 4 and (10 + 8) / 2
    assert counts.tolist() == [4, 2, 0]


def test_above_the_limit_little_more_is_lost_than_in_memory(vectors):
    below = QUANTISERS["rq_kmeans"](vectors, SETTINGS.replace(minibatch_above=6000), 7)
    above = QUANTISERS["rq_kmeans"](vectors, SETTINGS.replace(minibatch_above=5999), 7)
    assert below.reconstruction is not None
    assert above.reconstruction is None
    lost = quantised_error(vectors, below), quantised_error(vectors, above)
    assert lost[1] < 1.1 * lost[0]


@pytest.mark.parametrize("balanced", [False, True])
def test_mapped_vectors_give_the_codes_and_the_error_of_those_in_memory(vectors, balanced, tmp_path):
    vectors = vectors[:1500]
    write_matrix(tmp_path / "reduced.npy", vectors)
    mapped = read_matrix(tmp_path / "reduced.npy", mapped_above=0)
    settings = SETTINGS.replace(balanced=balanced)
    one, other = (QUANTISERS["rq_kmeans"](held, settings, 7) for held in (vectors, mapped))
    np.testing.assert_array_equal(other.codes, one.codes)
    codebooks = [one.tensors[f"codebook_{level}"] for level in range(2)]
    np.testing.assert_array_equal(one.codes, residual_codes(vectors, codebooks, balanced))
    lost = reconstruction_error(vectors, reconstruct(one.codes, codebooks))
    assert other.error == pytest.approx(lost, rel=1e-4)


def test_a_last_code_tells_many_mapped_items_apart(vectors, tmp_path):
    write_matrix(tmp_path / "reduced.npy", vectors[:1500])
    mapped = read_matrix(tmp_path / "reduced.npy", mapped_above=0)
    settings = SETTINGS.replace(n_codebooks=2, codebook_size=64)
    codes, _ = semantic_ids(mapped, [str(i) for i in range(1500)], settings, 7)
    assert len(np.unique(codes, axis=0)) == 1500


def test_at_the_limit_the_bits_are_those_of_the_quantiser_in_memory(vectors):
    settings = SETTINGS.replace(minibatch_above=len(vectors))
    codebooks = fit_codebooks(vectors, settings, 7)
    quantised = QUANTISERS["rq_kmeans"](vectors, settings, 7)
    np.testing.assert_array_equal(quantised.codes, residual_codes(vectors, codebooks, False))
    assert quantised.reconstruction is not None
    assert quantised.reconstruction.tobytes() == reconstruct(quantised.codes, codebooks).tobytes()


def test_no_more_codes_than_distinct_vectors():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 500, axis=0)
    quantised = QUANTISERS["rq_kmeans"](vectors, SETTINGS, 7)
    assert quantised.tensors["codebook_0"].shape == (3, 3)
    assert quantised.error == pytest.approx(0, abs=1e-12)
