"""What a causal language model is asked of items: whether one follows on another, and for their profiles."""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from prorl.config.language_model import LanguageModel
from prorl.config.profiles import Profiles
from prorl.config.section import ConfigError
from prorl.items.causal import Causal, asked

FIELDS = ("title", "attributes", "text")


def item_fields(items: pa.Table) -> list[dict[str, str]]:
    """The `FIELDS` of each item as text, attributes joined by commas."""
    columns = {name: items[name].to_pylist() for name in FIELDS}
    columns["attributes"] = [", ".join(own) for own in columns["attributes"]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def require_fields(prompt: str, allowed: Mapping[str, tuple[str, ...]], setting: str, *, every: bool) -> None:
    """Raise `ConfigError` where `prompt` has a field that is not `allowed`, by name its attributes, or one
    that text cannot be put into; and where it lacks one of the names, or, unless `every` one is needed, all.
    """
    shown = ", ".join(
        f"{{{name}.{part}}}" if parts else f"{{{name}}}"
        for name, parts in allowed.items()
        for part in parts or ("",)
    )
    try:
        parsed = [
            (name, format_ or "") for _, name, format_, _ in Formatter().parse(prompt) if name is not None
        ]
    except ValueError as error:
        raise ConfigError(f"params.yaml: {setting}: {prompt!r} is no template: {error}") from None
    for field, format_ in parsed:
        name, _, part = field.partition(".")
        right = name in allowed and (part in allowed[name] if allowed[name] else not part)
        if not right or "{" in format_:
            raise ConfigError(f"params.yaml: {setting}: got field {{{field}}}, allowed: {shown}")
    there = {field.partition(".")[0] for field, _ in parsed}
    if not there or (every and there != set(allowed)):
        needed = "one field of each of" if every else "at least one of the fields"
        raise ConfigError(f"params.yaml: {setting}: got {prompt!r}, allowed: with {needed} {shown}")
    try:
        prompt.format(
            **{
                name: SimpleNamespace(**dict.fromkeys(parts, "text")) if parts else "text"
                for name, parts in allowed.items()
            }
        )
    except ValueError as error:
        raise ConfigError(f"params.yaml: {setting}: {prompt!r} is no template for text: {error}") from None


def follow_odds(
    items: pa.Table, pairs: np.ndarray, settings: LanguageModel, cache: Path, every_seconds: float
) -> np.ndarray:
    """log P(yes) - log P(no) [c] that the second item of each pair [c, 2], counted from 1, follows naturally
    on the first, to 4 decimals.

    Raises `ConfigError` for a model that cannot be loaded and a field that items lack, `DataError` for a
    prompt that is too long.
    """
    allowed = {"item": FIELDS, "next": FIELDS}
    require_fields(settings.prompt, allowed, "language_model.prompt", every=True)
    fields = [SimpleNamespace(**own) for own in item_fields(items)]
    raw_ids = items["raw_id"].to_pylist()
    prompts = [settings.prompt.format(item=fields[a - 1], next=fields[b - 1]) for a, b in pairs.tolist()]

    def where(number: int) -> str:
        item, following = pairs[number]
        return f"items {raw_ids[item - 1]!r} and {raw_ids[following - 1]!r}"

    causal = Causal(settings)
    yes, no = (causal.answer_ids(getattr(settings, name), f"language_model.{name}") for name in ("yes", "no"))
    odds = asked(
        causal,
        prompts,
        where,
        ("follows", settings.yes, settings.no),
        lambda batch: causal.log_odds(batch, yes, no),
        cache,
        every_seconds,
    )
    return np.round(np.array(odds), 4)


def profiles(
    items: pa.Table, settings: Profiles, cache: Path, every_seconds: float
) -> tuple[list[str], dict[str, Any]]:
    """The text that the model writes for each item, and counts; the item's own where it writes nothing.

    Raises as `follow_odds` does.
    """
    require_fields(settings.prompt, dict.fromkeys(FIELDS, ()), "profiles.prompt", every=False)
    prompts = [settings.prompt.format(**own) for own in item_fields(items)]
    raw_ids, own_texts = items["raw_id"].to_pylist(), items["text"].to_pylist()
    causal = Causal(settings)
    texts = asked(
        causal,
        prompts,
        lambda number: f"item {raw_ids[number]!r}",
        ("profile", settings.new_tokens),
        lambda batch: causal.written(batch, settings.new_tokens),
        cache,
        every_seconds,
    )
    n_empty = sum(not text for text in texts)
    counts = {"items": len(texts), "written": len(texts) - n_empty, "empty_and_left_as_they_were": n_empty}
    return [text or own for text, own in zip(texts, own_texts, strict=True)], counts
