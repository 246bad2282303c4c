"""Released policies of a few items with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prorl.bundle.writing import Released, write_bundle
from prorl.layout import IDS_FILE
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import save_policy
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.simulators.scoring import save_simulator
from prorl.tables import ITEMS, write_table
from tests.tiny_models import SASREC, random_catalogue, random_policy, recbole_model

HISTORY = 4  # items of a history that count
ATTRIBUTES = ("Comedy", "Crime", "Drama", "Western")
SEARCH = {"n_candidates": 6, "weights": {"ctr": 1.0, "coherence": 0.5}}


def title_of(item: int) -> str:
    return f"Title {item}"


def attributes_of(item: int) -> list[str]:
    return [name for bit, name in enumerate(ATTRIBUTES) if item >> bit & 1]


def write_items(path: Path, n_items: int) -> None:
    """Items whose raw ids are a letter and a number; item i has the attributes of its bits."""
    numbers = range(1, n_items + 1)
    frame = pd.DataFrame(
        {
            "item": numbers,
            "raw_id": [f"r{i}" for i in numbers],
            "title": [title_of(i) for i in numbers],
            "attributes": [attributes_of(i) for i in numbers],
            "text": "",
        }
    )
    write_table(path, frame, ITEMS)


def catalogue_of(
    n_items: int = 30, acceptances: tuple[float, ...] = (0.0, 0.5, 1.0), **rules: Any
) -> Catalogue:
    rules = {"forbid": ["repeats", "history", "target"], "min_length": 2, "max_length": 4} | rules
    plain = random_catalogue(n_items, target_tokens="separate", **rules)
    return Catalogue(
        plain.vocabulary,
        plain.trie,
        plain.decoding,
        plain.target_tokens,
        acceptances,
        0.5 if acceptances else None,
    )


def make_bundle(
    root: Path,
    catalogue: Catalogue,
    *,
    blocked: tuple[str, ...] = (),
    simulator: bool = True,
    seed: int = 0,
) -> Path:
    """The folder of a released policy below `root`."""
    n_items = catalogue.trie.n_items
    semantic = catalogue if catalogue.identifiers == "semantic" else random_catalogue(n_items)
    write_semantic_ids(root / IDS_FILE, semantic.trie.item_codes[1:].numpy(), semantic.vocabulary)
    save_policy(root / "policy", random_policy(catalogue, seed=seed), catalogue, root / IDS_FILE)
    write_items(root / "items.parquet", n_items)
    if simulator:
        model = recbole_model("SASRec", n_items, 20)
        save_simulator(root / "simulator", model, "SASRec", SASREC.model_dump(), 20)
    write_bundle(
        root / "released",
        Released(
            dataset="films",
            name="prorl",
            policy=root / "policy",
            decoding=catalogue.decoding,
            blocked=blocked,
            history_length=HISTORY,
            items=root / "items.parquet",
            simulator=root / "simulator" if simulator else None,
            params={"pretrain": {"search": SEARCH}},
            metrics={"test": {}, "gate": None},
            card="# A card\n",
        ),
    )
    return root / "released"


def histories_of(n: int, n_items: int, seed: int = 0) -> list[list[str]]:
    """`n` histories of 1 to 6 raw ids."""
    rng = np.random.default_rng(seed)
    return [[f"r{item}" for item in rng.integers(1, n_items + 1, rng.integers(1, 7))] for _ in range(n)]
