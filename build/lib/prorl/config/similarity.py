"""Section `similarity`: verdicts by item vectors on which item may follow which."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section


class Similarity(Section):
    """Verdicts by item vectors on which item may follow which, for `mine.feasibility: similarity`."""

    section: ClassVar[str] = "similarity"

    datasets: list[str] = Field(
        description="Data sets that it is made for; [] is none: the stage is not there"
    )
    threshold: float | None = Field(
        ge=-1, le=1, description="Least cosine of the two vectors; null where a percentile is given"
    )
    percentile: float | None = Field(
        ge=0, le=100, description="The threshold as a percentile of the cosines of random pairs of items"
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.threshold is None) == (self.percentile is None):
            allowed = "a number where similarity.percentile is null, null where it is one"
            raise Refused("threshold", self.threshold, allowed)
        return self
