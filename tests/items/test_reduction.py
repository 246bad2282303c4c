"""Principal components against scikit-learn's, whitening, round trips, and too many dimensions."""

import numpy as np
import pytest
from sklearn.decomposition import PCA as ReferencePCA

from prorl.config.section import ConfigError
from prorl.items import reduction
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
