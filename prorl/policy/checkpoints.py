"""A policy on disk: an ordinary Transformers T5 (`config.json`, `model.safetensors`) with the semantic IDs it
speaks in.

`T5ForConditionalGeneration.from_pretrained(folder)` opens it. `prorl.json` says how items become
tokens, and under which rules of decoding the policy was saved.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from prorl.checkpoint import read_config, read_weights, require_fit, whole_number
from prorl.config.decoding import Decoding
from prorl.config.section import build
from prorl.errors import DataError
from prorl.files import atomic_folder, write_json
from prorl.layout import IDS_FILE
from prorl.policy.catalogue import Catalogue
from prorl.semantic_ids.reading import read_semantic_ids
from prorl.semantic_ids.trie import Trie
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.t5.model import RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE, T5, T5Sizes

FUNCTION = {  # what, sizes apart, makes a T5 the function that `T5` computes
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": RELATIVE_BUCKETS,
    "relative_attention_max_distance": RELATIVE_MAX_DISTANCE,
    "tie_word_embeddings": True,
    "is_encoder_decoder": True,
}

SIZES = {  # of T5Sizes by the keys of Transformers
    "vocabulary": "vocab_size",
    "n_layers": "num_layers",
    "d_model": "d_model",
    "d_ff": "d_ff",
    "d_kv": "d_kv",
    "n_heads": "num_heads",
}


def load_catalogue(
    semantic_ids: Path,
    decoding: Decoding,
    target_tokens: Literal["shared", "separate"],
    acceptances: Sequence[float] = (),
    acceptance: float | None = None,
    identifiers: Literal["semantic", "item"] = "semantic",
    n_ids: int | None = None,
) -> Catalogue:
    """The catalogue of the items in the table `semantic_ids`; the rest as in `Catalogue`.

    identifiers: by which items are read and written; of item IDs only the number of rows counts. n_ids: those
    that a policy has, so that a table whose codes need more is refused before memory is taken for them.

    Raises `DataError` if items are not 1..n in order, share codes, or have tokens that are not those of their
    codes.
    """
    codes, tokens = read_semantic_ids(semantic_ids)
    if codes.shape[1] < 2:
        raise DataError(f"{semantic_ids}: items have {codes.shape[1]} code; at least 2 are needed")
    if identifiers == "item":
        codes = torch.arange(len(codes))[:, None]
        vocabulary = Vocabulary(1, len(codes))
        tokens = vocabulary.tokens(codes)
    else:
        # A level's token ids start one codebook behind those of the level before.
        vocabulary = Vocabulary(codes.shape[1], int(tokens[0, 1] - 1 - codes[0, 1]))
    if n_ids is not None and vocabulary.size > n_ids:
        raise DataError(
            f"{semantic_ids}: got codes that make {vocabulary.size} ids, allowed: up to its policy's {n_ids}"
        )
    try:
        if not torch.equal(vocabulary.tokens(codes), tokens):
            raise ValueError("column 'tokens' does not hold the tokens of column 'codes'")
        trie = Trie.from_codes(codes, vocabulary.codebook_size)
        return Catalogue(vocabulary, trie, decoding, target_tokens, tuple(acceptances), acceptance)
    except ValueError as error:
        raise DataError(f"{semantic_ids}: {error}") from error


def save_policy(folder: Path, policy: T5, catalogue: Catalogue, semantic_ids: Path) -> None:
    """Write `policy` and a copy of the table `semantic_ids` into `folder`, whole or not at all."""
    sizes, vocabulary = policy.sizes, catalogue.vocabulary
    with atomic_folder(folder) as temporary:
        weights = {name: tensor.detach().contiguous().cpu() for name, tensor in policy.state_dict().items()}
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(
            temporary / "config.json",
            {
                "architectures": ["T5ForConditionalGeneration"],
                "model_type": "t5",
                "vocab_size": sizes.vocabulary,
                "num_layers": sizes.n_layers,
                "num_decoder_layers": sizes.n_layers,
                "d_model": sizes.d_model,
                "d_ff": sizes.d_ff,
                "d_kv": sizes.d_kv,
                "num_heads": sizes.n_heads,
                "dropout_rate": sizes.dropout,
                **FUNCTION,
                "pad_token_id": vocabulary.pad,
                "decoder_start_token_id": vocabulary.pad,
                "eos_token_id": vocabulary.eos,
            },
        )
        write_json(
            temporary / "prorl.json",
            {
                "identifiers": catalogue.identifiers,
                "target_tokens": catalogue.target_tokens,
                "acceptances": list(catalogue.acceptances),
                "acceptance": catalogue.acceptance,
                "decoding": catalogue.decoding.model_dump(),
            },
        )
        shutil.copyfile(semantic_ids, temporary / IDS_FILE)


def load_policy(folder: Path, decoding: Decoding | None = None) -> tuple[T5, Catalogue]:
    """The policy in `folder` and its catalogue, under the rules of `decoding`; None: those it was saved with.

    Raises `DataError` for files that do not fit together, `ConfigError` for saved rules that are none.
    """
    folder = Path(folder)
    try:
        config = read_config(folder / "config.json", (*SIZES.values(), "dropout_rate"))
        own = read_config(folder / "prorl.json", ["target_tokens"])
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such file; a policy is a folder as the pretrain stage writes it"
        ) from error
    for key, value in FUNCTION.items():
        if config.get(key) != value:
            raise DataError(f"{folder}/config.json: {key}: got {config.get(key)!r}, allowed: {value!r}")
    file = folder / "config.json"
    numbers = {name: whole_number(config, key, file) for name, key in SIZES.items()}
    if not isinstance(dropout := config["dropout_rate"], int | float) or not 0 <= dropout < 1:
        raise DataError(f"{file}: dropout_rate: got {dropout!r}, allowed: a number from 0 to below 1")
    sizes = T5Sizes(**numbers, dropout=dropout)
    weights = read_weights(folder / "model.safetensors")
    require_fit(folder / "model.safetensors", weights, sizes.n_layers, lambda: T5(sizes))
    policy = T5(sizes)
    policy.load_state_dict(weights)
    if decoding is None:
        decoding = build(Decoding, own.get("decoding"), "decoding", f"{folder}/prorl.json")
    told = _told(own, folder / "prorl.json")
    catalogue = load_catalogue(folder / IDS_FILE, decoding, *told, n_ids=sizes.vocabulary)
    if sizes.vocabulary != catalogue.n_ids:
        raise DataError(
            f"{folder}/config.json: vocab_size: got {sizes.vocabulary}, but the "
            f"{catalogue.identifiers} IDs in {IDS_FILE} make {catalogue.n_ids} ids"
        )
    return policy, catalogue


def _told(
    own: dict[str, Any], path: Path
) -> tuple[Literal["shared", "separate"], list[float], float | None, Literal["semantic", "item"]]:
    """How targets are told, acceptances, and how items are read and written, as `prorl.json` states them.
    Earlier policies are told no acceptance, and read and write semantic IDs.
    """
    target_tokens, all_of_them = own["target_tokens"], own.get("acceptances", [])
    if target_tokens not in ("shared", "separate"):
        raise DataError(f"{path}: target_tokens: got {target_tokens!r}, allowed: shared, separate")
    identifiers = own.get("identifiers", "semantic")
    if identifiers not in ("semantic", "item"):
        raise DataError(f"{path}: identifiers: got {identifiers!r}, allowed: semantic, item")
    if not isinstance(all_of_them, list) or not all(type(one) in (int, float) for one in all_of_them):
        raise DataError(f"{path}: acceptances: got {all_of_them!r}, allowed: a list of numbers")
    acceptance = own.get("acceptance")
    if acceptance is not None and type(acceptance) not in (int, float):
        raise DataError(f"{path}: acceptance: got {acceptance!r}, allowed: a number or null")
    return target_tokens, all_of_them, acceptance, identifiers
