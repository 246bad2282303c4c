"""Writes a released policy: everything into one folder, whole or not at all."""

import itertools
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl.bundle.folder import (
    CARD_FILE,
    FORMAT_VERSION,
    ITEMS_FILE,
    METRICS_FILE,
    OWN_FILE,
    PARAMS_FILE,
    SIMULATOR,
    WEIGHTS_FILE,
)
from prorl.config.decoding import Decoding
from prorl.files import atomic_folder, read_json, write_json
from prorl.layout import IDS_FILE
from prorl.semantic_ids.reading import read_semantic_ids
from prorl.tables import ITEMS, RELEASED_ITEMS, read_table, write_table

TOKENS = ("pad_token_id", "decoder_start_token_id", "eos_token_id")


@dataclass(frozen=True)
class Released:
    """What is released: a policy's folder, and what is told of it.

    decoding: the rules of its paths, which are made of items; blocked: raw ids that none holds; items: the
    table of the data set's; simulator: the folder of the one that comes along, None for none; params: the
    settings that it was made with; metrics: its figures; card: the text of `README.md`.
    """

    dataset: str
    name: str
    policy: Path
    decoding: Decoding
    blocked: Sequence[str]
    history_length: int
    items: Path
    simulator: Path | None
    params: dict[str, Any]
    metrics: dict[str, Any]
    card: str


def released_rules(decoding: Decoding) -> Decoding:
    """The rules of `decoding`, by which released paths are always made of items."""
    return decoding if decoding.constrained else decoding.replace(constrained=True)


def titles_for_example(titles: Sequence[str], raw_ids: Sequence[str]) -> tuple[str, str, str]:
    """What three items are called: by their titles where no other has them, else by their raw ids."""
    counts = Counter(titles)
    pairs = itertools.islice(itertools.cycle(zip(titles, raw_ids, strict=True)), 3)
    first, second, third = (title if title and counts[title] == 1 else raw_id for title, raw_id in pairs)
    return first, second, third


def write_bundle(folder: Path, release: Released) -> None:
    """Write `release` into `folder`, whole or not at all."""
    own, config = (read_json(release.policy / name) for name in (OWN_FILE, "config.json"))
    codes, _ = read_semantic_ids(release.policy / IDS_FILE)
    tokens_per_item = 1 if own.get("identifiers") == "item" else codes.shape[1]
    with atomic_folder(folder) as temporary:
        for name in ("config.json", WEIGHTS_FILE, IDS_FILE):
            shutil.copyfile(release.policy / name, temporary / name)
        generation = {name: config[name] for name in TOKENS} | {
            "max_new_tokens": release.decoding.max_length * tokens_per_item,
            "do_sample": False,
        }
        write_json(temporary / "generation_config.json", generation)
        write_json(
            temporary / OWN_FILE,
            own
            | {
                "format_version": FORMAT_VERSION,
                "dataset": release.dataset,
                "name": release.name,
                "decoding": release.decoding.model_dump(),
                "blocked": list(release.blocked),
                "history_length": release.history_length,
            },
        )
        write_table(temporary / ITEMS_FILE, read_table(release.items, ITEMS), RELEASED_ITEMS)
        write_json(temporary / PARAMS_FILE, release.params)
        write_json(temporary / METRICS_FILE, release.metrics)
        (temporary / CARD_FILE).write_text(release.card, encoding="utf-8")
        if release.simulator is not None:
            shutil.copytree(release.simulator, temporary / SIMULATOR)
