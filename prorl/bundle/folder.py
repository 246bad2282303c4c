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
from prorl.checkpoint import read_config
from prorl.errors import DataError
from prorl.files import sha256_of
from prorl.layout import IDS_FILE
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_policy
from prorl.t5.model import T5
from prorl.tables import RELEASED_ITEMS, read_table

FORMAT_VERSION = 1
READ_VERSIONS = (1,)
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
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
KEYS = (
    "dataset",
    "name",
    "target_tokens",
    "acceptances",
    "acceptance",
    "decoding",
    "blocked",
    "history_length",
)


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
    own = _own(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise _missing(folder / name)
    items = read_items(folder / ITEMS_FILE)
    policy, catalogue = load_policy(folder)
    if catalogue.trie.n_items != len(items):
        n_ids = catalogue.trie.n_items
        raise DataError(
            f"{folder / IDS_FILE}: got {n_ids} items, allowed: {len(items)}, those of {ITEMS_FILE}"
        )
    return Bundle(
        folder, policy, _blocking(catalogue, items, own, folder), items, own, version_of(folder, own)
    )


def read_items(path: Path) -> Items:
    """The items in the table `path`.

    Raises `DataError` where they are not 1..n in order, or share a raw id.
    """
    rows = read_table(path, RELEASED_ITEMS).to_pylist()
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if row["item"] != number:
            raise DataError(f"{path}: items must be 1..{len(rows)}, in order; row {number} has {row['item']}")
        if seen.setdefault(row["raw_id"], number) != number:
            both = f"items {seen[row['raw_id']]} and {number}"
            raise DataError(f"{path}: {both} have the raw id {row['raw_id']!r}; every item needs its own")
    return Items(
        Item(row["item"], row["raw_id"], row["title"] or "", tuple(row["attributes"] or ())) for row in rows
    )


def version_of(folder: Path, own: dict[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of weights, semantic IDs and rules."""
    rules = json.dumps({key: own[key] for key in KEYS if key not in ("dataset", "name")}, sort_keys=True)
    parts = [sha256_of(folder / WEIGHTS_FILE), sha256_of(folder / IDS_FILE), rules]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _own(folder: Path) -> dict[str, Any]:
    """The values of `prorl.json`, all `KEYS` among them."""
    for pattern in PICKLES:
        for path in sorted(folder.glob(pattern)):
            raise DataError(f"{path}: a pickle, which may run any code; allowed: {WEIGHTS_FILE} alone")
    path = folder / OWN_FILE
    if not path.is_file():
        raise _missing(path)
    own = read_config(path, needed=())
    version = own.get("format_version")
    if version not in READ_VERSIONS:
        read = ", ".join(map(str, READ_VERSIONS))
        raise DataError(f"{path}: format_version: got {version}, allowed: {read}, which this prorl reads")
    for key in KEYS:
        if key not in own:
            raise DataError(f"{path}: {key}: missing")
    return own


def _blocking(catalogue: Catalogue, items: Items, own: dict[str, Any], folder: Path) -> Catalogue:
    """`catalogue` under rules by which no path holds the items whose raw ids are `blocked`."""
    of_raw_id = {item.raw_id: item.item for item in items}
    for raw_id in own["blocked"]:
        if raw_id not in of_raw_id:
            raise DataError(
                f"{folder / OWN_FILE}: blocked: got {raw_id!r}, allowed: a raw id of {ITEMS_FILE}"
            )
    return catalogue.blocking(of_raw_id[raw_id] for raw_id in own["blocked"])


def _missing(path: Path) -> DataError:
    return DataError(f"{path}: no such file; a released policy is a folder as the release stage writes it")
