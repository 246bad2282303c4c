"""Section `decoding`: what a path may hold, in search, rollouts, loss and evaluation alike."""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from prorl.config.section import ConfigError, Refused, Section

NONE_UNCONSTRAINED = "allowed: none where decoding.constrained is false"


class Decoding(Section):
    """The rules that every path keeps."""

    section: ClassVar[str] = "decoding"
    per_data_set: ClassVar[bool] = False

    constrained: bool = Field(
        description="Whether paths are made of items alone; false: any token may follow any, as published, "
        "with `forbid: []`, `min_length: 0`, and `finetune.empty_paths` act or drop"
    )
    forbid: list[Literal["repeats", "history", "target"]] = Field(
        description="What no path may hold; [] is the published protocol"
    )
    min_length: int = Field(ge=0, le=30, description="Items of the shortest path; 0 allows the empty path")
    max_length: int = Field(ge=1, le=30, description="Items of the longest path")
    # Of the section `guardrails`, not of this one: nothing is trained, or saved, with it.
    _blocked: tuple[int, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _rules_agree(self) -> Self:
        if self.min_length > self.max_length:
            raise Refused("min_length", self.min_length, f"at most decoding.max_length, {self.max_length}")
        if not self.constrained and (self.forbid or self.min_length):
            key, allowed = ("forbid", "[]") if self.forbid else ("min_length", "0")
            raise Refused(key, getattr(self, key), allowed, where="with `constrained: false`")
        return self

    @property
    def blocked(self) -> tuple[int, ...]:
        """Items that no path may hold, each once, in order: none, unless `blocking` named them."""
        return self._blocked

    def blocking(self, items: Iterable[int]) -> Self:
        """The same rules, by which no path may hold `items` either.

        Raises `ConfigError` where there are any and paths may be made of anything.
        """
        blocked = tuple(sorted(set(map(int, items))))
        if blocked and not self.constrained:
            raise ConfigError(f"guardrails: got {len(blocked)} blocked items, {NONE_UNCONSTRAINED}")
        rules = self.model_copy()
        rules._blocked = blocked
        return rules

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What `repr` shows: what is blocked too, so that results kept by it are not mistaken for others."""
        yield from super().__repr_args__()
        if self._blocked:
            yield "blocked", self._blocked

    def replace(self, **changes: Any) -> Self:
        """See `Settings.replace`; what is blocked stays blocked."""
        return super().replace(**changes).blocking(self._blocked)
