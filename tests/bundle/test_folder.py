"""What a released policy's folder must hold, and what is said where it does not."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, T5ForConditionalGeneration

from prorl.bundle.folder import FILES, read_bundle
from prorl.bundle.policy import load_policy
from prorl.bundle.writing import released_rules, titles_for_example
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.files import read_json, write_json
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import ITEMS, RELEASED_ITEMS, read_table, write_table
from tests.bundle.made import catalogue_of, make_bundle, write_items
from tests.tiny_models import IDENTIFIERS


def change(path, **values):
    write_json(path, read_json(path) | values)


def weights_of(folder):
    """The weights, and none of them read from the file any more, which may then be written anew."""
    return {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}


def refused(folder, message, kind=DataError):
    with pytest.raises(kind, match=message) as told:
        read_bundle(folder)
    assert "\n" not in str(told.value)


def test_it_holds_what_it_says_and_no_texts(released):
    assert sorted(path.name for path in released.iterdir()) == sorted([*FILES, "simulator"])
    assert read_json(released / "prorl.json") == {
        "format_version": 2,
        "dataset": "films",
        "name": "prorl",
        "identifiers": "semantic",
        "target_tokens": "separate",
        "acceptances": [0.0, 0.5, 1.0],
        "acceptance": 0.5,
        "decoding": {
            "constrained": True,
            "forbid": ["repeats", "history", "target"],
            "min_length": 2,
            "max_length": 4,
        },
        "blocked": [],
        "history_length": 4,
    }
    assert read_table(released / "items.parquet", RELEASED_ITEMS).num_rows == 30
    with pytest.raises(DataError, match="column 'text' is missing"):
        read_table(released / "items.parquet", ITEMS)


@torch.no_grad()
def test_transformers_opens_it_and_generates(released):
    theirs, report = T5ForConditionalGeneration.from_pretrained(released, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    generation = GenerationConfig.from_pretrained(released)
    eos = catalogue_of().vocabulary.eos
    assert (generation.eos_token_id, generation.pad_token_id, generation.max_new_tokens) == (eos, 0, 12)
    assert theirs.generate(torch.tensor([[1, 5, 9, eos]])).shape[1] <= 13


def test_one_with_item_ids_guides_and_generates_a_token_an_item(tmp_path):
    catalogue = catalogue_of(**IDENTIFIERS["item"])
    folder = make_bundle(tmp_path, catalogue)
    assert GenerationConfig.from_pretrained(folder).max_new_tokens == 4
    bundle = read_bundle(folder)
    assert (bundle.catalogue.identifiers, bundle.catalogue.n_tokens) == ("item", 4)
    [path] = load_policy(folder, "cpu").guide(["r1", "r2"], target="r3")
    assert 2 <= len(path.items) <= 4
    assert not {item.raw_id for item in path.items} & {"r1", "r2", "r3"}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    refused(copied, f"{name}: no such file; a released policy is a folder as the release stage writes it")


@pytest.mark.parametrize(("version", "found"), [(3, "3"), (None, "None")])
def test_another_format_version_is_told_which_are_read(copied, version, found):
    change(copied / "prorl.json", format_version=version)
    refused(copied, rf"prorl\.json: format_version: got {found}, allowed: 1, 2, which this prorl reads")


def test_one_of_version_1_is_read_as_it_was(copied):
    """It says nothing of its identifiers, which are semantic."""
    now = read_bundle(copied)
    own = read_json(copied / "prorl.json") | {"format_version": 1}
    del own["identifiers"]
    write_json(copied / "prorl.json", own)
    before = read_bundle(copied)
    assert before.catalogue.identifiers == "semantic"
    assert before.version != now.version  # it is of the rules that the file states
    change(copied / "prorl.json", format_version=2)
    refused(copied, r"prorl\.json: identifiers: missing")


def test_pickles_are_refused_whatever_lies_beside_them(copied):
    torch.save({}, copied / "pytorch_model.bin")
    refused(copied, r"pytorch_model\.bin: a pickle, .*allowed: model\.safetensors alone")


def test_a_pickle_under_the_name_of_the_weights_is_refused(copied):
    torch.save(weights_of(copied), copied / "model.safetensors")
    refused(copied, r"model\.safetensors: not readable as safetensors")


def test_weights_that_do_not_fit_are_refused(copied):
    weights = weights_of(copied)
    del weights["encoder.final_layer_norm.weight"]
    save_file(weights, copied / "model.safetensors")
    refused(copied, r"model\.safetensors: does not fit config\.json")


def test_semantic_ids_of_other_items_are_refused(copied):
    shutil.copy(copied / "items.parquet", copied.parent)
    write_items(copied.parent / "items.parquet", 29)
    write_table(copied / "items.parquet", read_table(copied.parent / "items.parquet", ITEMS), RELEASED_ITEMS)
    refused(copied, r"semantic_ids\.parquet: got 30 items, allowed: 29, those of items\.parquet")


def test_two_items_with_the_same_codes_are_refused(copied):
    codes = catalogue_of().trie.item_codes[1:].numpy().copy()
    codes[4] = codes[2]
    write_semantic_ids(copied / "semantic_ids.parquet", codes, Vocabulary(3, 4))
    refused(copied, r"semantic_ids\.parquet: items 3 and 5 share the codes")


def test_items_out_of_order_or_with_the_same_raw_id_are_refused(copied):
    table = read_table(copied / "items.parquet", RELEASED_ITEMS)
    rows = table.to_pylist()
    write_table(copied / "items.parquet", table.take(list(range(29, -1, -1))), RELEASED_ITEMS)
    refused(copied, r"items\.parquet: items must be 1\.\.30, in order; row 1 has 30")
    rows[3]["raw_id"] = "r1"
    write_table(copied / "items.parquet", table.from_pylist(rows, schema=RELEASED_ITEMS), RELEASED_ITEMS)
    refused(copied, r"items\.parquet: items 1 and 4 have the raw id 'r1'")


def test_what_prorl_json_must_say(copied):
    own = read_json(copied / "prorl.json")
    change(copied / "prorl.json", blocked=["r31"])
    refused(copied, r"prorl\.json: blocked: got 'r31', allowed: a raw id of items\.parquet")
    write_json(copied / "prorl.json", {key: value for key, value in own.items() if key != "history_length"})
    refused(copied, r"prorl\.json: history_length: missing")
    write_json(copied / "prorl.json", own | {"decoding": own["decoding"] | {"max_length": 0}})
    refused(copied, r"prorl\.json: decoding\.max_length: got 0", ConfigError)
    (copied / "prorl.json").write_text("{", encoding="utf-8")
    refused(copied, r"prorl\.json: not JSON")
    (copied / "prorl.json").write_text(json.dumps([1]), encoding="utf-8")
    refused(copied, r"prorl\.json: found list, allowed: an object")


def test_the_version_changes_with_weights_ids_and_rules_alone(released, copied):
    version = load_policy(released, "cpu").version
    change(copied / "prorl.json", name="another")
    change(copied / "metrics.json", more=1)
    assert read_bundle(copied).version == version
    change(copied / "prorl.json", blocked=["r3"])
    other = read_bundle(copied).version
    assert other != version
    weights = weights_of(copied)
    weights["shared.weight"][0, 0] += 1
    save_file(weights, copied / "model.safetensors")
    assert read_bundle(copied).version not in (version, other)


def test_released_paths_are_made_of_items():
    rules = catalogue_of(constrained=False, forbid=[], min_length=0).decoding
    assert released_rules(rules) == rules.replace(constrained=True)
    assert released_rules(catalogue_of().decoding) == catalogue_of().decoding


def test_titles_for_an_example_tell_items_apart():
    assert titles_for_example(["A", "", "B", "A"], ["1", "2", "3", "4"]) == ("1", "2", "B")
    assert titles_for_example(["A", "B"], ["1", "2"]) == ("A", "B", "A")
