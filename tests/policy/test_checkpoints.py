"""Policies on disk: ours, Transformers', and files that do not fit together."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.layout import IDS_FILE
from prorl.policy.checkpoints import load_catalogue, load_policy, save_policy
from prorl.policy.decoding import greedy
from prorl.tables import SEMANTIC_IDS, write_table
from tests.tiny_models import random_catalogue, random_policy, random_prompts

N_ITEMS = 30


def write_ids(path, catalogue, **columns):
    codes = catalogue.trie.item_codes[1:].numpy()
    table = {
        "item": np.arange(1, len(codes) + 1),
        "codes": codes,
        "tokens": catalogue.vocabulary.tokens(catalogue.trie.item_codes[1:]).numpy(),
    } | columns
    write_table(path, pd.DataFrame({name: list(values) for name, values in table.items()}), SEMANTIC_IDS)


@pytest.fixture(params=itertools.product(["semantic", "item"], ["shared", "separate"]))
def stored(request, tmp_path):
    """A catalogue, its policy, and the folder both are saved in."""
    identifiers, target_tokens = request.param
    write_ids(tmp_path / IDS_FILE, random_catalogue(N_ITEMS))
    rules = random_catalogue(N_ITEMS).decoding
    catalogue = load_catalogue(tmp_path / IDS_FILE, rules, target_tokens, identifiers=identifiers)
    policy = random_policy(catalogue, dropout=0.1)
    save_policy(tmp_path / "policy", policy, catalogue, tmp_path / IDS_FILE)
    return catalogue, policy, tmp_path / "policy"


def test_a_saved_policy_is_loaded_with_its_catalogue(stored):
    catalogue, policy, folder = stored
    loaded, its_catalogue = load_policy(folder, catalogue.decoding)
    assert loaded.sizes == policy.sizes
    assert its_catalogue.vocabulary == catalogue.vocabulary
    assert its_catalogue.target_tokens == catalogue.target_tokens
    assert its_catalogue.identifiers == catalogue.identifiers
    for name in catalogue.trie.__dataclass_fields__:
        assert torch.equal(getattr(its_catalogue.trie, name), getattr(catalogue.trie, name)), name
    history, target = random_prompts(4, N_ITEMS)
    assert torch.equal(
        greedy(loaded.eval(), its_catalogue, history, target).items,
        greedy(policy, catalogue, history, target).items,
    )


@torch.no_grad()
def test_a_saved_policy_opens_in_transformers_with_the_same_logits(stored):
    catalogue, policy, folder = stored
    theirs, report = T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert theirs.config.eos_token_id == catalogue.vocabulary.eos
    assert theirs.config.decoder_start_token_id == theirs.config.pad_token_id == 0
    assert theirs.config.dropout_rate == 0.1
    history, target = random_prompts(4, N_ITEMS)
    prompt, path = catalogue.prompt_tokens(history, target), torch.tensor([[0, 3, 6, 9, 1]] * 4)
    ours = policy.logits(policy(prompt, path[:, None]), slice(None))[:, 0]
    torch.testing.assert_close(
        theirs.eval()(input_ids=prompt, decoder_input_ids=path).logits, ours, rtol=0, atol=1e-4
    )


def test_other_rules_of_decoding_may_be_asked_for(stored):
    catalogue, _, folder = stored
    other = random_catalogue(N_ITEMS, forbid=["repeats"], max_length=2).decoding
    assert load_policy(folder, other)[1].decoding == other
    assert (
        json.loads((folder / "prorl.json").read_text())["decoding"]["max_length"]
        == catalogue.decoding.max_length
    )


def test_without_rules_asked_for_those_it_was_saved_with_hold(stored):
    catalogue, _, folder = stored
    assert load_policy(folder)[1].decoding == catalogue.decoding


def test_saved_rules_that_are_none_are_an_error(stored):
    catalogue, _, folder = stored
    own = json.loads((folder / "prorl.json").read_text())
    own["decoding"]["max_length"] = 0
    (folder / "prorl.json").write_text(json.dumps(own))
    with pytest.raises(ConfigError, match=r"prorl\.json: decoding\.max_length: got 0"):
        load_policy(folder)
    assert load_policy(folder, catalogue.decoding)[1].decoding == catalogue.decoding


def test_a_folder_without_a_policy_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"config\.json: no such file; a policy is a folder"):
        load_policy(tmp_path, random_catalogue().decoding)


@pytest.mark.parametrize("change", ["width", "layers", "missing"])
def test_weights_that_do_not_fit_are_an_error(stored, change):
    catalogue, _, folder = stored
    if change == "missing":
        weights = load_file(folder / "model.safetensors")
        del weights["encoder.final_layer_norm.weight"]
        save_file(weights, folder / "model.safetensors")
    else:
        config = json.loads((folder / "config.json").read_text())
        config |= {"d_model": 32} if change == "width" else {"num_layers": 1}
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"model\.safetensors: does not fit config\.json"):
        load_policy(folder, catalogue.decoding)


def test_how_items_are_read_and_written_is_checked(stored):
    """An earlier policy does not say it: it has semantic IDs."""
    catalogue, _, folder = stored
    own = json.loads((folder / "prorl.json").read_text())
    assert own["identifiers"] == catalogue.identifiers
    for value, found in (("words", "'words'"), (None, "None"), (["item"], r"\['item'\]")):
        (folder / "prorl.json").write_text(json.dumps(own | {"identifiers": value}))
        with pytest.raises(
            DataError, match=rf"prorl\.json: identifiers: got {found}, allowed: semantic, item"
        ):
            load_policy(folder, catalogue.decoding)
    del own["identifiers"]
    (folder / "prorl.json").write_text(json.dumps(own))
    if catalogue.identifiers == "semantic":
        assert load_policy(folder, catalogue.decoding)[1].identifiers == "semantic"
    else:
        with pytest.raises(DataError, match=r"vocab_size: got \d+, but the semantic IDs in .* make \d+ ids"):
            load_policy(folder, catalogue.decoding)


def test_a_policy_that_lacks_the_ids_of_its_items_is_an_error(stored):
    """Semantic IDs of larger codebooks, or of more items, beside a policy for smaller ones."""
    catalogue, _, folder = stored
    write_ids(folder / IDS_FILE, random_catalogue(90, codebook_size=40))
    with pytest.raises(DataError, match=r"got codes that make \d+ ids, allowed: up to its policy's \d+"):
        load_policy(folder, catalogue.decoding)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": np.arange(2, N_ITEMS + 2)}, r"items must be 1\.\.30, in order"),
        (
            {"codes": np.zeros((N_ITEMS, 3), dtype=int), "tokens": np.tile([1, 5, 9], (N_ITEMS, 1))},
            "items 1 and 2 share the codes",
        ),
        (
            {"codes": np.ones((N_ITEMS, 3), dtype=int)},
            "column 'tokens' does not hold the tokens of column 'codes'|codes 1..1; allowed",
        ),
        (
            {"codes": np.zeros((N_ITEMS, 1), dtype=int), "tokens": np.ones((N_ITEMS, 1), dtype=int)},
            "1 code; at least 2",
        ),
    ],
)
def test_semantic_ids_that_break_a_rule_are_an_error(tmp_path, columns, message):
    catalogue = random_catalogue(N_ITEMS)
    write_ids(tmp_path / IDS_FILE, catalogue, **columns)
    with pytest.raises(DataError, match=message):
        load_catalogue(tmp_path / IDS_FILE, catalogue.decoding, "shared")
