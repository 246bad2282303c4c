"""Section `guide`: settings of the guides that are evaluated beside the two policies."""

from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from prorl.config.pretrain import SearchWeights
from prorl.config.section import Refused, Section, Settings


class Guide(Section):
    """A mapping for each guide: its settings, which are those of its kind.

    `kind` says what a guide is; left out, the guide's name does. `tried`, a list of mappings, each laid over
    the guide's other settings, makes several settings to choose from: `selection` says how.
    """

    section: ClassVar[str] = "guide"
    per_data_set: ClassVar[bool] = False
    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _each_is_a_mapping(self) -> Self:
        for name, values in self.named.items():
            if not isinstance(values, dict):
                raise Refused(name, repr(values), "a mapping")
        return self

    @property
    def named(self) -> dict[str, Any]:
        """The mapping of each guide by its name."""
        return self.model_extra or {}


class RulesSettings(Settings):
    """Rules of its own that a guide may have; they may be left out."""

    min_length: int | None = Field(
        default=None,
        ge=0,
        description="Items of its shortest path; null: `decoding.min_length`, as for all",
    )


class SearchSettings(RulesSettings):
    """Search on a simulator."""

    simulator: str = Field(description="The simulator that is searched on")
    n_candidates: int = Field(ge=1, description="Items that the search weighs at each step")
    weights: SearchWeights = Field(
        description="What counts beside an item's gain in interest, which weighs 1"
    )


class LookaheadSettings(SearchSettings):
    """Search on a simulator that looks a step ahead."""

    ahead: int = Field(ge=1, description="Candidates at each step that are looked ahead of")


class BeamSettings(SearchSettings):
    """Beam search on a simulator."""

    width: int = Field(ge=1, description="Paths under way for each prompt")


class PolicySettings(RulesSettings):
    """A policy of one's own; `own_rules` may be left out."""

    path: str = Field(description="Its folder, as the pretrain and finetune stages write theirs")
    own_rules: bool = Field(
        default=False,
        description="Whether it decodes by the rules it was saved with, instead of those of `decoding`",
    )
    acceptance: float | None = Field(
        default=None,
        description="How much acceptance is to count, one of those it can be told; null: that it was saved "
        "with",
    )
