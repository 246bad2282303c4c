"""Cosines of pairs, and the least of them that counts."""

from pathlib import Path

import numpy as np
import pytest

from prorl.config.section import ConfigError
from prorl.config.similarity import Similarity
from prorl.items import similarity
from prorl.items.similarity import cosines, least_cosine
from prorl.params import read_params

SETTINGS = read_params(Path(__file__).parents[2] / "params.yaml").section(Similarity)


def test_cosines_by_hand(monkeypatch):
    vectors = np.array([[3, 4], [4, 3], [-6, -8], [0, 0]], dtype=np.float32)
    pairs = np.array([[1, 1], [1, 2], [1, 3], [2, 4]])
    for at_once in (3, 100):
        monkeypatch.setattr(similarity, "AT_ONCE", at_once)
        assert cosines(vectors, pairs).tolist() == pytest.approx([1, 0.96, -1, 0])


def test_a_percentile_is_that_of_random_pairs_of_different_items():
    vectors = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    every = np.array([[a, b] for a in range(1, 41) for b in range(1, 41) if a != b])
    for percentile in (0, 50, 90):
        found = least_cosine(vectors, SETTINGS.replace(threshold=None, percentile=float(percentile)), 7)
        assert found == pytest.approx(np.percentile(cosines(vectors, every), percentile), abs=0.02)
    assert least_cosine(vectors, SETTINGS.replace(threshold=0.25, percentile=None), 7) == 0.25


@pytest.mark.parametrize("changes", [{"threshold": 0.5, "percentile": 50.0}, {"percentile": None}])
def test_there_is_one_threshold(changes):
    with pytest.raises(ConfigError, match=r"threshold: got .*, allowed: a number where similarity"):
        SETTINGS.replace(**changes)
