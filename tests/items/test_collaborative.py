"""A simulator's item vectors beside those of the texts: their lengths and directions, and what codes tell."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items import collaborative, reduction
from prorl.items.collaborative import beside, require_vectors
from prorl.items.matrices import read_matrix, write_matrix
from prorl.items.reduction import fit_pca


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 3).astype(np.float32)


@pytest.fixture
def vectors():
    return (np.random.default_rng(1).normal(size=(60, 4)) * 7 + 2).astype(np.float32)


def joined(texts, vectors, weight, dimension=5, whiten=False):
    return np.concatenate(list(beside(texts, fit_pca(texts, dimension, whiten), vectors, weight)))


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_mean_square_lengths_are_as_the_weight_says(texts, vectors, weight, whiten):
    rows = joined(texts, vectors, weight, whiten=whiten)
    assert rows.shape == (60, 5 + 4)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    variances = rows[:, :5].var(axis=0, ddof=1).sum(), rows[:, 5:].var(axis=0).sum()
    assert variances == pytest.approx((5, weight**2 * 5))


def test_the_texts_components_are_those_of_texts_alone(texts, vectors):
    alone = fit_pca(texts, 5, False).transform(texts)
    rows = joined(texts, vectors, 1.0)[:, :5]
    np.testing.assert_allclose(rows / np.linalg.norm(rows), alone / np.linalg.norm(alone), atol=1e-6)


def test_the_simulators_part_is_its_directions_in_proportion(texts, vectors):
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    own = joined(texts, vectors, 1.0)[:, 5:]
    apart = own[:, None] - own[None]
    expected = (directions[:, None] - directions[None]).astype(np.float64)
    np.testing.assert_allclose(apart, expected * np.sqrt(5 / directions.var(axis=0).sum()), atol=1e-4)


def test_how_long_a_simulators_vector_is_changes_nothing(texts, vectors):
    longer = vectors * np.random.default_rng(2).uniform(0.1, 10, size=(60, 1)).astype(np.float32)
    np.testing.assert_allclose(joined(texts, longer, 1.0), joined(texts, vectors, 1.0), atol=1e-4)
    vectors[7] = 0
    assert np.isfinite(joined(texts, vectors, 1.0)).all()


def test_vectors_that_stay_on_disk_or_come_in_parts_give_the_same_rows(texts, vectors, tmp_path, monkeypatch):
    expected = joined(texts, vectors, 1.0)
    for module in (reduction, collaborative):
        monkeypatch.setattr(module, "CHUNK", 7)
    write_matrix(tmp_path / "texts.npy", texts)
    mapped = read_matrix(tmp_path / "texts.npy", mapped_above=0)
    np.testing.assert_allclose(joined(mapped, vectors, 1.0), expected, atol=1e-5)


def test_codes_follow_what_weighs_more():
    """Items of two texts and two tastes, crossed: two codes tell the texts apart, or the tastes."""
    rng = np.random.default_rng(3)
    text, taste = np.arange(60) % 2, np.arange(60) // 30
    of_text, of_taste = rng.normal(size=(2, 12)) * 3, rng.normal(size=(2, 4)) * 3
    texts = (of_text[text] + rng.normal(size=(60, 12))).astype(np.float32)
    vectors = (of_taste[taste] + rng.normal(size=(60, 4)) / 3).astype(np.float32)
    for weight, group in ((0.1, text), (3.0, taste)):
        codes = KMeans(2, n_init=10, random_state=0).fit_predict(joined(texts, vectors, weight))
        assert max((codes == group).mean(), (codes != group).mean()) == 1


def test_vectors_that_are_all_alike_are_refused(texts):
    with pytest.raises(ConfigError, match=r"reduce.collaborative: got 1.0, allowed: 0, as .* 60 item"):
        joined(texts, np.full((60, 4), 0.5, dtype=np.float32), 1.0)


def test_a_simulator_has_a_finite_vector_for_each_item(vectors):
    require_vectors(vectors, 60, "Mine")
    with pytest.raises(DataError, match="simulator 'Mine': 60 item vectors for 59 items"):
        require_vectors(vectors, 59, "Mine")
    vectors[7, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 60 item vectors .* the first is that of item 8"):
        require_vectors(vectors, 60, "Mine")
