"""The items that no path may show, as the guardrails name them."""

import difflib

import numpy as np
import pandas as pd

from prorl.config.guardrails import Guardrails
from prorl.config.section import ConfigError


def blocked_items(items: pd.DataFrame, settings: Guardrails, source: str) -> np.ndarray:
    """The numbers of blocked items, in order, from the canonical table `items`.

    Raises `ConfigError`, naming the file `source` of the settings, for an item or an attribute that the table
    does not have: a slip of the pen would block nothing.
    """
    raw_ids, attributes = items.raw_id.tolist(), [set(own) for own in items.attributes]
    known = set().union(*attributes)
    for key, names, allowed, kind in (
        ("blocked_items", settings.blocked_items, set(raw_ids), "a raw id of the data set"),
        ("blocked_attributes", settings.blocked_attributes, known, "an attribute of the data set"),
    ):
        for i, name in enumerate(names):
            if name not in allowed:
                close = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f"; did you mean attribute {close[0]!r}?" if close else ""
                raise ConfigError(f"{source}: guardrails.{key}[{i}]: got {name!r}, allowed: {kind}{hint}")
    by_name, by_attribute = set(settings.blocked_items), set(settings.blocked_attributes)
    blocked = [
        raw_id in by_name or bool(own & by_attribute) for raw_id, own in zip(raw_ids, attributes, strict=True)
    ]
    return items.item.to_numpy()[np.array(blocked, dtype=bool)]
