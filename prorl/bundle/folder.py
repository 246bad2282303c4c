"""The folder of a released policy: what lies in it, and how it is read. No pickle ever is.

`config.json`, `generation_config.json` and `model.safetensors` are Transformers' own. Beside them stand
`prorl.json`, the semantic IDs and the items, and what a person should know: settings, figures and a card.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl.bundle.items import Item, Items
from prorl.checkpoint import read_config, whole_number
from prorl.errors import DataError
from prorl.files import sha256_of
from prorl.layout import IDS_FILE
from prorl.offpolicy.lines import is_text
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_policy
from prorl.t5.model import T5
from prorl.tables import RELEASED_ITEMS, read_table

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
OWN_FILE, ITEMS_FILE, WEIGHTS_FILE, SIMULATOR = (
    "prorl.json",
    "items.parquet",
    "model.safetensors",
    "simulator",
)
PARAMS_FILE, METRICS_FILE, CARD_FILE = "params.json", "metrics.json", "README.md"
FILES = (
    *("config.json", "generation_config.json", WEIGHTS_FILE, OWN_FILE, IDS_FILE, ITEMS_FILE),
    *(PARAMS_FILE, METRICS_FILE, CARD_FILE),
)
LONGEST_HISTORY = 10_000  # items; each prompt of a batch takes memory for as many
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
KEYS = (
    "dataset",
    "name",
    "identifiers",
    "target_tokens",
    "acceptances",
    "acceptance",
    "decoding",
    "blocked",
    "history_length",
)
NOT_IN_VERSION_1 = ("identifiers",)  # which were semantic


@dataclass(frozen=True)
class Bundle:
    """What a folder holds: the policy and its catalogue, under the rules it was released with; the items; and
    `own`, the values of `prorl.json`.
    """

    folder: Path
    policy: T5
    catalogue: Catalogue
    items: Items
    own: dict[str, Any]
    version: str

    @property
    def simulator(self) -> Path | None:
        """The folder of the simulator that came along, if one did."""
        return self.folder / SIMULATOR if (self.folder / SIMULATOR).is_dir() else None


def read_bundle(folder: Path) -> Bundle:
    """The released policy in `folder`.

    Raises `DataError` for a file that is missing or holds pickles, for another format version, and for files
    that do not fit together; `ConfigError` for rules that are none.
    """
    own = read_own(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise _missing(folder / name)
    items = read_items(folder / ITEMS_FILE)
    blocked = _blocked(own, items, folder / OWN_FILE)
    policy, catalogue = load_policy(folder)
    if catalogue.trie.n_items != len(items):
        n_ids = catalogue.trie.n_items
        raise DataError(
            f"{folder / IDS_FILE}: got {n_ids} items, allowed: {len(items)}, those of {ITEMS_FILE}"
        )
    return Bundle(folder, policy, catalogue.blocking(blocked), items, own, version_of(folder, own))


def read_items(path: Path) -> Items:
    """The items in the table `path`.

    Raises `DataError` where they are not 1..n in order, lack or share a raw id, or have attributes without
    text.
    """
    try:
        rows = read_table(path, RELEASED_ITEMS).to_pylist()
    except UnicodeDecodeError as error:  # of a text, which is looked at here
        raise DataError(f"{path}: not readable as text: {error}") from error
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if row["item"] != number:
            raise DataError(f"{path}: items must be 1..{len(rows)}, in order; row {number} has {row['item']}")
        if not row["raw_id"]:
            raise DataError(f"{path}: row {number}: raw_id: got {row['raw_id']!r}, allowed: text, not empty")
        if None in (row["attributes"] or ()):
            raise DataError(f"{path}: row {number}: attributes: got {row['attributes']}, allowed: texts")
        if seen.setdefault(row["raw_id"], number) != number:
            both = f"items {seen[row['raw_id']]} and {number}"
            raise DataError(f"{path}: {both} have the raw id {row['raw_id']!r}; every item needs its own")
    return Items(
        Item(row["item"], row["raw_id"], row["title"] or "", tuple(row["attributes"] or ())) for row in rows
    )


def version_of(folder: Path, own: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of weights, semantic IDs and rules."""
    rules = {key: own[key] for key in KEYS if key in own and key not in ("dataset", "name")}
    told = json.dumps(rules, sort_keys=True)
    parts = [sha256_of(folder / WEIGHTS_FILE), sha256_of(folder / IDS_FILE), told]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def read_own(folder: Path) -> dict[str, Any]:
    """The values of `prorl.json` in `folder`, all `KEYS` of its version among them.

    Raises `DataError` for a file that is missing or lacks a key, for another format version, and for pickles.
    """
    for pattern in PICKLES:
        for path in sorted(folder.glob(pattern)):
            raise DataError(f"{path}: a pickle, which may run any code; allowed: {WEIGHTS_FILE} alone")
    path = folder / OWN_FILE
    if not path.is_file():
        raise _missing(path)
    own = read_config(path, needed=())
    version = own.get("format_version")
    if type(version) is not int or version not in READ_VERSIONS:
        read = ", ".join(map(str, READ_VERSIONS))
        raise DataError(f"{path}: format_version: got {version}, allowed: {read}, which this prorl reads")
    for key in KEYS:
        if key not in own and not (version == 1 and key in NOT_IN_VERSION_1):
            raise DataError(f"{path}: {key}: missing")
    for key in ("dataset", "name"):
        if not is_text(own[key]) or not own[key]:
            allowed = "text that is not empty, of whole characters, without NUL"
            raise DataError(f"{path}: {key}: got {own[key]!r}, allowed: {allowed}")
    if whole_number(own, "history_length", path) > LONGEST_HISTORY:
        raise DataError(
            f"{path}: history_length: got {own['history_length']}, allowed: at most {LONGEST_HISTORY:,}"
        )
    _check_acceptances(own, path)
    return own


def _check_acceptances(own: dict[str, Any], path: Path) -> None:
    """Raise `DataError` unless a policy can be told the `acceptances` in `own`, one of which is the usual."""
    told = own["acceptances"]
    numbers = isinstance(told, list) and all(type(one) in (int, float) and 0 <= one <= 1 for one in told)
    if not numbers or len(set(told)) < len(told):
        raise DataError(
            f"{path}: acceptances: got {told!r}, allowed: a list of different numbers from 0 to 1"
        )
    usual = own["acceptance"]
    if not (type(usual) in (int, float) and usual in told if told else usual is None):
        allowed = f"one of {told}" if told else "null, since acceptances is empty"
        raise DataError(f"{path}: acceptance: got {usual!r}, allowed: {allowed}")


def _blocked(own: dict[str, Any], items: Items, path: Path) -> list[int]:
    """The items whose raw ids are `blocked`, which no path holds."""
    blocked = own["blocked"]
    if not isinstance(blocked, list) or not all(isinstance(raw_id, str) for raw_id in blocked):
        raise DataError(f"{path}: blocked: got {blocked!r}, allowed: a list of raw ids")
    of_raw_id = {item.raw_id: item.item for item in items}
    for raw_id in blocked:
        if raw_id not in of_raw_id:
            raise DataError(f"{path}: blocked: got {raw_id!r}, allowed: a raw id of {ITEMS_FILE}")
    if len(set(blocked)) >= len(items):
        raise DataError(f"{path}: blocked: got {len(blocked)}, allowed: fewer than the {len(items)} items")
    return [of_raw_id[raw_id] for raw_id in blocked]


def _missing(path: Path) -> DataError:
    return DataError(f"{path}: no such file; a released policy is a folder as the release stage writes it")
