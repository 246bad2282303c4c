"""Contexts and worlds of a few items, for the guides that are fitted."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.section import build
from prorl.guide import GuideContext
from prorl.guides.registry import GUIDES
from prorl.guides.walks import World
from tests.tiny_models import PARAMS, guide_data_of, random_simulator, session_at

N_ITEMS, T = 30, 4
RULES = ["repeats", "history", "target"]
WORDS = np.random.default_rng(0).integers(1, 8, (N_ITEMS + 1, 1)).astype(np.uint64)


def context_of(folder: Path, *, forbid: list[str] | None = None, min_length: int = 2) -> GuideContext:
    """The context of a guide with an empty folder."""
    own = folder / "guide"
    own.mkdir()
    return GuideContext(
        {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")},
        Decoding(
            constrained=True, forbid=RULES if forbid is None else forbid, min_length=min_length, max_length=T
        ),
        WORDS,
        guide_data_of(N_ITEMS),
        torch.device("cpu"),
        "float32",
        1,
        "params.yaml",
        own,
        "guide.mine",
    )


def world_of(context: GuideContext, name: str = "SASRec", n_candidates: int = 10) -> World:
    """The world of a random simulator."""
    return World.of(name, n_candidates, context)


def settings_of(kind: str, **changes: Any) -> Any:
    """The settings of `kind` in params.yaml, but for `changes` and what is tried."""
    from prorl.config.guide import Guide

    values = dict(PARAMS.section(Guide).named[kind])
    values.pop("tried")
    return build(GUIDES[kind].settings, values | changes, f"guide.{kind}", "params.yaml")


def fitted(kind: str, context: GuideContext, folder: Path, **changes: Any):
    """The guide of `kind` fitted with a few settings changed, and the figures."""
    settings, entry = settings_of(kind, **changes), GUIDES[kind]
    assert entry.fit is not None
    figures = entry.fit(settings, context, session_at(folder))
    return entry.build(settings, context), figures
