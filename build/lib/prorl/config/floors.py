"""Settings of the guides that every other guide is to beat."""

from typing import Literal

from pydantic import Field

from prorl.config.pretrain import SearchWeights
from prorl.config.section import Settings

Distance = Literal["cosine", "l2", "attributes"]


class RandomSettings(Settings):
    """Items drawn at random: nothing to set."""


class PopularSettings(Settings):
    """The most popular items: nothing to set."""


class TargetNeighboursSettings(Settings):
    """The items nearest to the target."""

    simulator: str = Field(description="The simulator whose item vectors tell distances")
    distance: Distance = Field(
        description="Of the simulator's item vectors, `cosine` or `l2`; `attributes`: how many two items do "
        "not share"
    )
    order: Literal["nearest_first", "nearest_last"] = Field(description="In which order they are shown")


class UniversalSettings(Settings):
    """The one path that does best on training prompts."""

    simulator: str = Field(
        description="The simulator that scores the candidates, and is searched on for some"
    )
    candidates: int = Field(ge=1, description="Paths that are compared; the most frequent mined ones first")
    mined_share: float = Field(
        ge=0, le=1, description="The most of them that are mined paths; the others are found by search"
    )
    prompts: int = Field(ge=1, description="Training prompts that they are scored on, with random targets")
    n_candidates: int = Field(ge=1, description="Items that the search weighs at each step")
    weights: SearchWeights = Field(
        description="What counts beside a path's gain in interest, which weighs 1, in the search and in the "
        "comparison"
    )
