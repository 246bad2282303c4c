"""Principal components against scikit-learn's, whitening, round trips, and too many dimensions."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.decomposition import PCA as ReferencePCA

from prorl.config.section import ConfigError
from prorl.items import reduction
from prorl.items.matrices import read_matrix, write_matrix
from prorl.items.reduction import fit_pca, load_pca, save_pca


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 3).astype(np.float32)


@pytest.mark.parametrize("whiten", [True, False])
def test_the_projection_is_scikit_learns_up_to_sign(vectors, whiten, monkeypatch):
    monkeypatch.setattr(reduction, "CHUNK", 7)
    reduced = fit_pca(vectors, 5, whiten).transform(vectors)
    reference = ReferencePCA(5, whiten=whiten, svd_solver="full").fit_transform(vectors.astype(np.float64))
    signs = np.sign((reduced * reference).sum(axis=0))
    np.testing.assert_allclose(reduced, reference * signs, atol=1e-4)


def test_whitened_components_are_uncorrelated_with_variance_one(vectors):
    np.testing.assert_allclose(np.cov(fit_pca(vectors, 5, True).transform(vectors).T), np.eye(5), atol=1e-5)


def test_the_sign_of_a_component_makes_its_largest_entry_positive(vectors):
    components = fit_pca(vectors, 12, True).components
    assert (components[np.arange(12), np.abs(components).argmax(axis=1)] > 0).all()


def test_a_saved_projection_comes_back(vectors, tmp_path):
    pca = fit_pca(vectors, 4, True)
    save_pca(tmp_path / "pca.safetensors", pca)
    loaded = load_pca(tmp_path / "pca.safetensors")
    assert loaded.whiten is True
    np.testing.assert_array_equal(loaded.transform(vectors), pca.transform(vectors))


def test_more_dimensions_than_the_vectors_vary_in_are_refused(vectors):
    with pytest.raises(ConfigError, match=r"reduce.dimension: got 13, allowed: at most 12"):
        fit_pca(vectors, 13, True)
    with pytest.raises(ConfigError, match="at most 3"):
        fit_pca(vectors[:4], 4, True)
    with pytest.raises(ConfigError, match="at most 0"):
        fit_pca(np.ones((5, 3)), 1, True)


@pytest.mark.parametrize("whiten", [True, False])
def test_vectors_that_stay_on_disk_give_the_same_projection_in_one_pass(
    vectors, whiten, tmp_path, monkeypatch
):
    monkeypatch.setattr(reduction, "CHUNK", 7)
    write_matrix(tmp_path / "vectors.npy", vectors)
    mapped = read_matrix(tmp_path / "vectors.npy", mapped_above=100)
    assert isinstance(mapped, np.memmap)
    one, other = fit_pca(vectors, 5, whiten), fit_pca(mapped, 5, whiten)
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-12)
    np.testing.assert_allclose(other.components, one.components, atol=1e-10)
    np.testing.assert_allclose(other.variances, one.variances, rtol=1e-12)
    np.testing.assert_allclose(other.transform(mapped), one.transform(vectors), atol=1e-6)


def test_vectors_in_memory_give_the_bits_of_the_plain_computation(vectors):
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    covariance = centred.T @ centred / (len(vectors) - 1)
    variances, columns = eigh(covariance, subset_by_index=(12 - 5, 11))
    components = columns.T[::-1]
    components = components * np.sign(components[np.arange(5), np.abs(components).argmax(axis=1)])[:, None]
    pca = fit_pca(vectors, 5, True)
    assert pca.mean.tobytes() == mean.tobytes()
    assert pca.components.tobytes() == components.tobytes()
    expected = ((vectors - mean) @ (components.T * (1 / np.sqrt(variances[::-1])))).astype(np.float32)
    np.testing.assert_array_equal(pca.transform(vectors), expected)


def test_two_parts_add_up_by_hand(tmp_path, monkeypatch):
    """Means 1 and 5, each with a scatter of 2: together 2 + 2 + 16 * 2 * 2 / 4 = 20 around 3."""
    monkeypatch.setattr(reduction, "CHUNK", 2)
    write_matrix(tmp_path / "vectors.npy", np.array([[0.0], [2.0], [4.0], [6.0]]))
    pca = fit_pca(read_matrix(tmp_path / "vectors.npy", mapped_above=0), 1, False)
    assert pca.mean == pytest.approx([3])
    assert pca.variances == pytest.approx([20 / 3])
