"""Section `guardrails`: what no path may show, whoever writes it."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section


class Guardrails(Section):
    """What no path may show; hard constraints on every guide when it writes, without training anew."""

    section: ClassVar[str] = "guardrails"

    blocked_items: list[str] = Field(description="Raw ids of items that no path may hold")
    blocked_attributes: list[str] = Field(description="Attributes; an item with one of them is in no path")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for key in ("blocked_items", "blocked_attributes"):
            names = getattr(self, key)
            for i, name in enumerate(names):
                if name in names[:i]:
                    raise Refused(f"{key}[{i}]", repr(name), "each name once")
        return self
