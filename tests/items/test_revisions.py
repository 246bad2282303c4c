"""A model of the hub at a revision, as the cache of downloads has it: two commits with other weights."""

import shutil

import huggingface_hub.constants as hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from prorl.config.section import ConfigError
from prorl.items.causal_models import load_causal_model
from prorl.items.language_model import load_encoder
from prorl.items.packaged import at_revision
from tests.items.test_language_model import settings_for
from tests.items.tiny_causal import save_tiny_causal
from tests.items.tiny_qwen3 import save_tiny_qwen3

NAME, OLD, NEW = "owner/tiny", "0" * 40, "1" * 40
TEXT = "A film about the sea (1995). Adventure, Drama"


def downloaded(model, cache):
    """`model` in the `cache` as `NAME`: at commit `OLD`, and, all its weights twice as large, at `NEW`, where
    branch main is.
    """
    repository = cache / "models--owner--tiny"
    for commit, factor in ((OLD, 1.0), (NEW, 2.0)):
        snapshot = repository / "snapshots" / commit
        shutil.copytree(model, snapshot)
        for file in snapshot.rglob("*.safetensors"):
            weights = {name: factor * weight for name, weight in load_file(file).items()}
            save_file(weights, file, metadata={"format": "pt"})
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(NEW)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def weight_of(model) -> float:
    return sum(weight.abs().sum().item() for weight in model.parameters())


def encoder(name, folder):
    return load_encoder(name, "cpu", settings_for(folder).replace(model=name))


def causal(name, folder):
    return load_causal_model(name, "language_model.model", "float32", torch.device("cpu"))[0]


@pytest.mark.parametrize("load", [encoder, causal])
def test_a_revision_names_the_weights(load, cache, tmp_path):
    if load is encoder:
        save_tiny_qwen3(tmp_path, [TEXT])
    else:
        save_tiny_causal(tmp_path / "model", [TEXT])
    downloaded(tmp_path / "model", cache)
    old, new = (weight_of(load(f"{NAME}@{commit}", tmp_path)) for commit in (OLD, NEW))
    assert new == pytest.approx(2 * old)
    assert weight_of(load(f"{NAME}@main", tmp_path)) == new
    assert weight_of(load(NAME, tmp_path)) == new
    with pytest.raises(ConfigError, match=f"{NAME}@{'2' * 40}") as error:
        load(f"{NAME}@{'2' * 40}", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", ("owner/name", None)),
        ("owner/name@v2", ("owner/name", "v2")),
        ("owner/name@refs/pr/1", ("owner/name", "refs/pr/1")),
        ("owner/name@", ("owner/name@", None)),
    ],
)
def test_what_follows_the_at_is_a_revision(source, expected):
    assert at_revision(source) == expected


def test_a_folder_with_an_at_is_a_folder(tmp_path):
    folder = tmp_path / "model@home"
    folder.mkdir()
    assert at_revision(str(folder)) == (str(folder), None)
