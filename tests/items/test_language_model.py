"""A tiny random Qwen3 against pooling written by hand, over one process and two, unbroken and resumed."""

import multiprocessing
import os
import socket
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from prorl.config.embed import Embed
from prorl.config.section import ConfigError
from prorl.items import language_model
from prorl.items.embedding import embed
from prorl.items.language_model import encode, load_encoder, shards_of
from prorl.items.packaged import model_source
from tests.items.tiny_qwen3 import save_tiny_qwen3

TEXTS = [
    f"{'The long ' * (i % 7)}film {i} ({1950 + i % 60}). {'Comedy' if i % 3 else 'Drama, War'}"
    for i in range(300)
]


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    """The folder of the tiny model."""
    folder = tmp_path_factory.mktemp("qwen3")
    save_tiny_qwen3(folder, TEXTS)
    return folder


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """One thread, and small shards."""
    monkeypatch.setattr(language_model, "BATCHES_PER_SHARD", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings_for(folder) -> Embed:
    return Embed(
        import_=None,
        texts="prepared",
        model=str(folder / "model"),
        dimension=8,
        batch_size=4,
        max_tokens=24,
        precision="float32",
    )


@pytest.fixture(scope="module")
def by_hand(qwen3):
    """Each text alone, unpadded: the state of its last token, the end-of-text token, normalised."""
    tokenizer = AutoTokenizer.from_pretrained(qwen3 / "model")
    model = AutoModel.from_pretrained(qwen3 / "model").eval()
    rows = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
        assert tokens["input_ids"][0, -1] == tokenizer.eos_token_id
        with torch.no_grad():
            rows.append(model(**tokens).last_hidden_state[0, -1])
    return torch.nn.functional.normalize(torch.stack(rows), dim=-1).numpy()


def test_vectors_are_the_normalised_states_of_the_last_token(qwen3, by_hand, tmp_path):
    vectors = encode(TEXTS, settings_for(qwen3), tmp_path, 15)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, by_hand, atol=1e-6)
    assert np.unique(vectors.round(4), axis=0).shape == vectors.shape


def test_bf16_is_close_to_float32(qwen3, by_hand, tmp_path):
    vectors = embed(TEXTS, TEXTS, settings_for(qwen3).replace(precision="bf16"), 1, tmp_path, 15)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose((vectors**2).sum(axis=1), 1, atol=1e-6)
    assert (vectors * by_hand).sum(axis=1).min() > 0.99


def test_a_run_that_was_killed_goes_on_with_what_is_missing(qwen3, tmp_path, monkeypatch):
    unbroken = encode(TEXTS, settings_for(qwen3), tmp_path / "unbroken", 15)
    encoded = []
    original = language_model.encode_batch

    def fails_at_the_tenth(model, texts):
        if len(encoded) == 9:
            raise KeyboardInterrupt
        encoded.append(texts)
        return original(model, texts)

    monkeypatch.setattr(language_model, "encode_batch", fails_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        encode(TEXTS, settings_for(qwen3), tmp_path / "broken", 15)
    n_done = len(list((tmp_path / "broken").rglob("*.npy")))
    assert n_done == 2  # of 4 batches each
    monkeypatch.setattr(
        language_model, "encode_batch", lambda model, texts: encoded.append(texts) or original(model, texts)
    )
    resumed = encode(TEXTS, settings_for(qwen3), tmp_path / "broken", 15)
    assert len(encoded) == 9 + 75 - 2 * 4
    np.testing.assert_array_equal(resumed, unbroken)


def encode_as_one_of_two(rank: int, port: int, settings: Embed, folder) -> None:
    """What one of two processes does, with the environment that accelerate's launcher gives it."""
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    language_model.BATCHES_PER_SHARD = 4
    vectors = encode(TEXTS, settings, folder / "shards", 15)
    assert (vectors is None) == (rank == 1)
    if vectors is not None:
        np.save(folder / "vectors.npy", vectors)


def test_two_processes_make_the_same_bits_as_one(qwen3, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["sentence_transformers"]
    )  # its import takes seconds, and this way once for both
    arguments = (port, settings_for(qwen3), tmp_path)
    processes = [context.Process(target=encode_as_one_of_two, args=(rank, *arguments)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((tmp_path / "shards").rglob("*.npy"))) == 19
    np.testing.assert_array_equal(
        np.load(tmp_path / "vectors.npy"), encode(TEXTS, settings_for(qwen3), tmp_path / "one", 15)
    )


def test_batches_are_of_like_length_and_every_text_is_in_one():
    shards = shards_of(TEXTS, 4)
    assert [len(shard) for shard in shards] == [4] * 18 + [3]
    assert sorted(np.concatenate([row for shard in shards for row in shard])) == list(range(300))
    ranges = sorted((len(TEXTS[batch[-1]]), len(TEXTS[batch[0]])) for shard in shards for batch in shard)
    assert all(shorter[1] <= longer[0] for shorter, longer in pairwise(ranges))


def test_a_folder_that_does_not_say_how_it_pools_is_refused(qwen3):
    """Its states would be averaged, which is wrong for a Qwen3: its last state is the vector."""
    settings = settings_for(qwen3).replace(model=str(qwen3 / "backbone"))
    with pytest.raises(
        ConfigError, match=r"^embed.model: got '.*backbone', which has no modules.json: .*whole$"
    ):
        load_encoder(model_source(settings.model), "cpu", settings)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "models/of/mine"])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(ConfigError, match=r"^embed.model: got '.*', allowed: a folder that is there$"):
        model_source(name)


@pytest.mark.parametrize("name", ["no-such-owner/no-model", "no model"])
def test_a_model_that_is_not_downloaded_is_one_line(name, qwen3):
    settings = settings_for(qwen3).replace(model=name)
    with pytest.raises(
        ConfigError, match=rf"^embed.model: got '{name}', .*a model that is downloaded or can be"
    ):
        load_encoder(model_source(name), "cpu", settings)


def test_a_folder_with_half_a_model_is_one_line(qwen3, tmp_path):
    (tmp_path / "modules.json").write_text((qwen3 / "model/modules.json").read_text())
    settings = settings_for(qwen3).replace(model=str(tmp_path))
    with pytest.raises(ConfigError, match=r"^embed.model: got .*, allowed: a folder, or a model") as error:
        load_encoder(model_source(str(tmp_path)), "cpu", settings)
    assert "\n" not in str(error.value)
