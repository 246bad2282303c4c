"""What the sections' dataclasses are made of."""

from dataclasses import field
from typing import Literal

Precision = Literal["float32", "bf16"]


class ConfigError(ValueError):
    """A setting that is missing, unknown, of the wrong type or out of range."""


def setting(
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
):
    """A dataclass field whose number (or each number of a list) must lie within the given bounds."""
    return field(metadata={"above": above, "at_least": at_least, "at_most": at_most, "below": below})
