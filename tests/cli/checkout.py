"""A checkout with a released policy of a few items and random weights, and the data it was made from."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from prorl.bundle.writing import Released, write_bundle
from prorl.config.decoding import Decoding
from prorl.layout import IDS_FILE, Layout
from prorl.policy.checkpoints import save_policy
from prorl.simulators.scoring import save_simulator
from prorl.tables import INTERACTIONS, ITEMS, SEMANTIC_IDS, USER_SPLITS, write_table
from tests.tiny_models import SASREC, random_catalogue, random_policy, recbole_model

DATASET, N_ITEMS, MAX_LENGTH = "tiny", 30, 20
POLICY = f"models/released/{DATASET}/prorl"
TITLES = {1: "Alien", 2: "Aliens", 3: "Blade Runner", 4: "The Piano", 5: "Amélie"}
GENRES = ("Action", "Comedy", "Drama")
HISTORY = [7, 8, 9, 10, 11, 12, 13]  # of user "u1"; the last 5 count
SEARCH = {"n_candidates": 5, "weights": {"ctr": 1.0, "coherence": 1.0}}
RULES = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=3, max_length=4)


def title_of(item: int) -> str:
    return TITLES.get(item, f"Film {item}")


def genres_of(item: int) -> list[str]:
    return sorted({GENRES[item % 3], GENRES[item % 2]})


def write_checkout(root: Path) -> Path:
    """Raw ids are `m1`, `m2` .., and users `u1`, `u2`."""
    layout = Layout(DATASET)
    catalogue = random_catalogue(N_ITEMS, forbid=RULES.forbid, min_length=3, max_length=4)
    catalogue = replace(catalogue, acceptances=(0.0, 1.0), acceptance=1.0)
    codes = catalogue.trie.item_codes[1:]
    ids = {
        "item": range(1, N_ITEMS + 1),
        "codes": codes.tolist(),
        "tokens": catalogue.vocabulary.tokens(codes).tolist(),
    }
    ids_file = root / layout.semantic_ids / IDS_FILE
    write_table(ids_file, pa.table(ids, schema=SEMANTIC_IDS), SEMANTIC_IDS)
    numbers = range(1, N_ITEMS + 1)
    items = {
        "item": numbers,
        "raw_id": [f"m{number}" for number in numbers],
        "title": [title_of(number) for number in numbers],
        "attributes": [genres_of(number) for number in numbers],
        "text": ["" for _ in numbers],
    }
    write_table(root / layout.items, pa.table(items, schema=ITEMS), ITEMS)
    log = {
        "user": [1] * len(HISTORY) + [2] * 3,
        "item": [*HISTORY, 1, 2, 3],
        "timestamp": range(len(HISTORY) + 3),
    }
    write_table(root / layout.interactions, pa.table(log, schema=INTERACTIONS), INTERACTIONS)
    splits = {"user": [1, 2], "raw_id": ["u1", "u2"], "split": ["test", "train"]}
    write_table(root / layout.splits, pa.table(splits, schema=USER_SPLITS), USER_SPLITS)
    save_policy(root / layout.policy("prorl"), random_policy(catalogue), catalogue, ids_file)
    model = recbole_model("SASRec", N_ITEMS, MAX_LENGTH)
    save_simulator(root / layout.simulator("SASRec"), model, "SASRec", SASREC.model_dump(), MAX_LENGTH)
    write_bundle(
        root / POLICY,
        Released(
            dataset=DATASET,
            name="prorl",
            policy=root / layout.policy("prorl"),
            decoding=RULES,
            blocked=[],
            history_length=5,
            items=root / layout.items,
            simulator=root / layout.simulator("SASRec"),
            params={"pretrain": {"search": SEARCH}},
            metrics={},
            card="A tiny policy.\n",
        ),
    )
    return root
